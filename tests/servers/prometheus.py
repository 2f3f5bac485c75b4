"""Debian's Prometheus, watching processes as one in a cluster watches pods."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import yaml

from servers.waiting import free_port

SCRAPED_EVERY = "1s"


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped at `address` (host:port), and the labels that where it was found gives it."""

    address: str
    service: str
    pod: str
    namespace: str = "ships"


class Prometheus:
    """Keeps its data below `folder`; `rules` is a file of rules. Listens on a free loopback port."""

    def __init__(self, folder: Path, targets: Sequence[Target], rules: str) -> None:
        program = shutil.which("prometheus")
        assert program is not None, "prometheus is missing: install Debian's package prometheus."
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        found = [
            {
                "targets": [each.address],
                "labels": {name: getattr(each, name) for name in ("namespace", "service", "pod")},
            }
            for each in targets
        ]
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        (folder / "targets.json").write_text(json.dumps(found), encoding="utf-8")
        config = {
            "global": {"scrape_interval": SCRAPED_EVERY, "scrape_timeout": SCRAPED_EVERY, "evaluation_interval": "2s"},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [{"job_name": "pods", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = monotonic() + 20
        while monotonic() < end:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/-/ready", timeout=2).status_code == 200:
                    return
            sleep(0.05)
        raise AssertionError((folder / "log").read_text(encoding="utf-8"))

    def ask(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        """What `/api/v1/<path>` answers. AssertionError with its error."""
        reply = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert reply["status"] == "success", (parameters, reply)
        data = reply["data"]
        found: list[dict[str, Any]] = data["result"] if isinstance(data, Mapping) else data
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
