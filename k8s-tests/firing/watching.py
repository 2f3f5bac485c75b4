"""Debian's Prometheus and Alertmanager as processes of this machine, which watch one release of the chart."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import httpx
import yaml

from charts.render import Renderer, merged
from cluster.errors import ClusterError
from cluster.model import Cluster
from firing.discovery import kept_up_to_date
from load.looking import seen
from servers.waiting import free_port

START_WITHIN = 30.0
STOP_WITHIN = 10.0
ASKED_WITHIN = 10.0
WINDOWS = dict(
    zip(
        ("5m", "15m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"),
        ("10s", "15s", "15s", "20s", "20s", "30s", "30s", "40s", "60s"),
        strict=True,
    )
)
"""What becomes of the rules' windows, so that an alert ends soon after its cause."""
SHIPPED = {"metrics": {"rulesConfigMap": {"enabled": True}, "inhibitRules": {"enabled": True}}}
RULES, INHIBITIONS = "slipway-rules", "slipway-inhibit-rules"
TARGETS = "targets.json"


@dataclass(frozen=True)
class Rules:
    """What the chart gives a Prometheus and an Alertmanager: texts of files."""

    rules: str
    inhibitions: str


def rendered(renderer: Renderer, values: dict[str, Any], namespace: str) -> Rules:
    """As the chart ships them for these values."""
    objects = renderer.objects(merged(values, SHIPPED), namespace=namespace)
    return Rules(
        objects.one("ConfigMap", RULES)["data"]["rules.yaml"],
        objects.one("ConfigMap", INHIBITIONS)["data"]["inhibit-rules.yaml"],
    )


def shortened(rules: Rules) -> Rules:
    """The same with the windows of WINDOWS; KeyError for one that isn't there."""
    return Rules(re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", rules.rules), rules.inhibitions)


@dataclass(frozen=True)
class Watch:
    """Both, running. `began` is when they started, in seconds since 1970."""

    prometheus: str
    alertmanager: str
    began: float

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return list(_asked(f"{self.prometheus}/api/v1/query", query=expression)["data"]["result"])

    def active(self, state: str = "firing") -> frozenset[str]:
        """Names of the alerts that are in this state now."""
        return _names(self.query(f'ALERTS{{alertstate="{state}"}}'))

    def fired(self, since: float | None = None) -> frozenset[str]:
        """Names of the alerts that fired at any time since then, or since the start, however shortly."""
        seconds = max(1, round(time() - (self.began if since is None else since)))
        return _names(self.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])'))

    def labels(self, alert: str) -> list[dict[str, str]]:
        """Of each that fires now under this name."""
        return [dict(series["metric"]) for series in self.query(f'ALERTS{{alertstate="firing", alertname="{alert}"}}')]

    def states(self) -> dict[str, set[str]]:
        """Alert → what Alertmanager makes of it: `active`, `suppressed`."""
        found: dict[str, set[str]] = {}
        for alert in _asked(f"{self.alertmanager}/api/v2/alerts"):
            found.setdefault(alert["labels"]["alertname"], set()).add(alert["status"]["state"])
        return found

    def suppressed(self) -> frozenset[str]:
        """Names of the alerts that Alertmanager tells nobody of, because another says why."""
        return frozenset(alert for alert, states in self.states().items() if states == {"suppressed"})

    def targets(self) -> dict[str, int]:
        """Service → how many of its pods answered the last scrape."""
        counted = self.query("sum by (service) (up)")
        return {series["metric"]["service"]: int(series["value"][1]) for series in counted}

    def rule_faults(self) -> list[str]:
        """What Prometheus says of rules that it couldn't evaluate, or hasn't."""
        every = self._rules()
        bad = [f"{rule['name']}: {rule.get('lastError') or rule['health']}" for rule in every if rule["health"] != "ok"]
        return bad if every else ["there is no rule"]

    def alerts(self) -> frozenset[str]:
        """Names of the alerts that Prometheus has rules for."""
        return frozenset(rule["name"] for rule in self._rules() if rule["type"] == "alerting")

    def _rules(self) -> list[dict[str, Any]]:
        groups = _asked(f"{self.prometheus}/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def _asked(url: str, **parameters: str) -> Any:
    reply = httpx.get(url, params=parameters, timeout=ASKED_WITHIN)
    if reply.is_error:
        raise ClusterError(f"{url} {parameters}: {reply.status_code} {reply.text[:200]}")
    return reply.json()


def _names(series: list[dict[str, Any]]) -> frozenset[str]:
    return frozenset(one["metric"]["alertname"] for one in series)


@contextmanager
def watching(cluster: Cluster, namespace: str, rules: Rules, *, every: int = 2) -> Iterator[Watch]:
    """Both at work, each pod scraped every so many seconds."""
    proxy, ours, theirs = free_port(), free_port(), free_port()
    loopback = "127.0.0.1"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-watch-")))
        (folder / "rules.yaml").write_text(rules.rules, "utf-8")
        settings = {
            "prometheus.yaml": _prometheus(theirs, every),
            "alertmanager.yaml": {
                "route": {"receiver": "nobody", "group_wait": "0s"},
                "receivers": [{"name": "nobody"}],
                **yaml.safe_load(rules.inhibitions),
            },
        }
        for name, content in settings.items():
            (folder / name).write_text(yaml.safe_dump(content), "utf-8")
        kubectl = cluster.kubectl
        for words in (
            [kubectl.path, f"--kubeconfig={kubectl.kubeconfig}", "proxy", f"--port={proxy}"],
            [
                *(program("prometheus-alertmanager"), f"--config.file={folder}/alertmanager.yaml"),
                *(f"--storage.path={folder}/alerts", "--cluster.listen-address="),
                f"--web.listen-address={loopback}:{theirs}",
            ],
            [
                *(program("prometheus"), f"--config.file={folder}/prometheus.yaml"),
                *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address={loopback}:{ours}"),
            ],
        ):
            stack.enter_context(_running([str(word) for word in words], folder))
        stack.enter_context(kept_up_to_date(folder / TARGETS, namespace, f"{loopback}:{proxy}"))
        watch = Watch(f"http://{loopback}:{ours}", f"http://{loopback}:{theirs}", time())
        for base in (watch.prometheus, watch.alertmanager):
            seen(partial(_ready, base), START_WITHIN, f"an answer of {base}")
        yield watch


def program(name: str) -> str:
    """Its path; ClusterError says which package it lacks."""
    found = shutil.which(name)
    if found is None:
        raise ClusterError(f"{name} is missing: install Debian's package {name}")
    return found


def _ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/-/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _running(words: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{Path(words[0]).name}.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.kill()
        process.wait(STOP_WITHIN)


def _prometheus(alertmanager: int, every: int) -> dict[str, Any]:
    job = {
        "job_name": "slipway",
        "file_sd_configs": [{"files": [TARGETS]}],
    }
    return {
        "global": {"scrape_interval": f"{every}s", "scrape_timeout": f"{every}s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
        "scrape_configs": [job],
    }
