"""Rules as Debian's promtool tries them: series in, alerts out, many cases in one run of the program."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}
"""Program → Debian package that has it."""
SECONDS = 120

Series = Mapping[str, str]
"""Values in promtool's notation, such as `0+2x60`, by series, such as `up{job="a"}`; one a `step`."""


@dataclass(frozen=True)
class Case:
    """`fires`: pairs of alert and release, exactly those that fire (None: any); `rules`: names of files."""

    series: Series
    fires: Collection[tuple[str, str]] | None
    minutes: int
    step: int = 1
    """Minutes between two scrapes, and two evaluations."""
    rules: tuple[str, ...] = ("slipway",)
    also: Mapping[str, float] = field(default_factory=dict)
    """Expressions, with the one value that each must have at the end."""


def check(rules: str, folder: Path) -> str:
    """What `promtool check rules` says. Raises CalledProcessError when it finds fault."""
    path = folder / "rules.yaml"
    path.write_text(rules)
    done = subprocess.run(
        ["promtool", "check", "rules", path], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


def configured(configuration: str, folder: Path) -> str:
    """What `amtool check-config` says. Raises CalledProcessError when it finds fault."""
    path = folder / "alertmanager.yaml"
    path.write_text(configuration)
    done = subprocess.run(["amtool", "check-config", path], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def tried(cases: Mapping[str, Case], rules: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What promtool objects to, by case; empty where it doesn't."""
    for name, text in rules.items():
        (folder / f"{name}.rules.yaml").write_text(text)
    for name, case in cases.items():
        (folder / f"{name}.test.yaml").write_text(yaml.safe_dump(_document(case)))
    files = [f"{name}.test.yaml" for name in cases]
    done = subprocess.run(
        ["promtool", "test", "rules", *files],
        cwd=folder,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where it says what failed, between the names of the files
        text=True,
        timeout=SECONDS,
    )
    said = re.split(r"^Unit Testing:\s+(\S+)\.test\.yaml$", done.stdout, flags=re.MULTILINE)
    outcomes = dict(zip(said[1::2], said[2::2], strict=True))
    if outcomes.keys() != cases.keys():
        raise RuntimeError(f"promtool didn't try every case: {done.stdout}")
    return {name: "" if text.strip() == "SUCCESS" else text.strip() for name, text in outcomes.items()}


def _document(case: Case) -> dict[str, Any]:
    fired = f'group by (alertname, release) (count_over_time(ALERTS{{alertstate="firing"}}[{case.minutes}m]))'
    alerts = [
        {"labels": f'{{alertname="{name}", release="{release}"}}', "value": 1} for name, release in case.fires or ()
    ]
    at = f"{case.minutes}m"
    asked = [] if case.fires is None else [{"expr": fired, "eval_time": at, "exp_samples": alerts}]
    asked += [
        {"expr": expr, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
        for expr, value in case.also.items()
    ]
    return {
        "rule_files": [f"{name}.rules.yaml" for name in case.rules],
        "evaluation_interval": f"{case.step}m",
        "tests": [
            {
                "interval": f"{case.step}m",
                "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
                "promql_expr_test": asked,
            }
        ],
    }
