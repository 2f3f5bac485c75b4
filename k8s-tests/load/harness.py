"""Runs the load generator as a pod beside what it loads, on any cluster, and brings its report home."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.commands import CommandError, tail
from cluster.errors import ClusterError
from cluster.model import Cluster
from load.looking import seen

FOLDER = Path(__file__).parent
MODULES = ("__init__.py", "connections.py", "requests.py", "tally.py", "generator.py")
"""What the generator is made of; nothing else of this folder goes into the pod."""
LABEL_NAME, LABEL_VALUE = "app.kubernetes.io/name", "slipway-load"
START_WITHIN = 60.0
KEPT_SHARE = 0.9
"""Share of the due requests that must have been sent: less is not the load that was asked for."""
OUTAGE = 10_000.0
"""Milliseconds. A p99 like that is an outage, although each request was answered in the end."""
LOST = ("no connection", "connection lost", "connection closed", "closed before")
"""How the errors of connections begin (connections.py)."""
REPORT_WITHIN = 90.0
SIGTERM_TO_IT = "import os, signal; os.kill(1, signal.SIGTERM)"
"""The image has no kill; the generator is the container's first process."""


@dataclass(frozen=True)
class Program:
    """What the pod runs: a module, and of which packages it gets which files."""

    module: str
    packages: dict[Path, tuple[str, ...]]

    def modules(self) -> dict[str, dict[str, str]]:
        """Package → file → text."""
        return {
            folder.name: {name: (folder / name).read_text(encoding="utf-8") for name in names}
            for folder, names in self.packages.items()
        }


GENERATOR = Program("load.generator", {FOLDER: MODULES})


@dataclass(frozen=True)
class Traffic:
    """What to send: `rate` in requests a second, for at most `seconds`; shares between 0 and 1.

    A request fails when it isn't answered within `timeout` seconds.
    """

    rate: float = 30.0
    seconds: float = 240.0
    new_share: float = 0.5
    pool: int = 8
    timeout: float = 25.0
    sign_in_every: float = 5.0
    export_every: float = 0.0
    retry_idempotent: bool = False
    target: str = "http://slipway"

    @property
    def program(self) -> Program:
        return GENERATOR

    def options(self) -> list[str]:
        options = [f"--target={self.target}", f"--rate={self.rate:g}", f"--seconds={self.seconds:g}"]
        options += [f"--new-share={self.new_share:g}", f"--pool={self.pool}", f"--timeout={self.timeout:g}"]
        options += [f"--sign-in-every={self.sign_in_every:g}", f"--export-every={self.export_every:g}"]
        return options + (["--retry-idempotent"] if self.retry_idempotent else [])


@dataclass(frozen=True)
class Outcome:
    """The generator's report."""

    report: dict[str, Any]

    @property
    def requests(self) -> int:
        return int(self.report["requests"])

    @property
    def sent(self) -> int:
        """Requests sent by the clock: without refreshes and the reading at the end."""
        return int(self.report["sent"])

    @property
    def failed(self) -> int:
        return int(self.report["failed"])

    @property
    def retried(self) -> int:
        return int(self.report["retried"])

    @property
    def latency(self) -> dict[str, float]:
        """Milliseconds: p50, p99, max."""
        return dict(self.report["latency_ms"])

    @property
    def failures(self) -> str:
        """The first of them, one a line."""
        return "\n".join(json.dumps(failure) for failure in self.report["failures"])

    def complaints(self) -> list[str]:
        """What keeps it from showing that nothing fails: failures, too little load, a pause like an outage."""
        due, told = self.report["rate"] * self.report["seconds"], []
        if self.failed:
            told.append(f"{self.failed} failed:\n{self.failures}")
        if self.sent < KEPT_SHARE * due or not self.sent:
            told.append(f"{self.sent} requests were sent of {due:.0f} that were due")
        if self.latency["p99"] >= OUTAGE:
            told.append(f"one in a hundred took {self.latency['p99']:g} ms or more")
        return told

    def lost_connections(self) -> int:
        """How many of the failures shown are connections that were lost or refused, as a pod without a drain does.

        Others may be beside them: packets to a pod that is gone are answered by nobody.
        """
        return sum(str(failure["error"]).startswith(LOST) for failure in self.report["failures"])

    def sentence(self, scenario: str) -> str:
        apart = f", retried {self.retried}" if self.retried else ""
        return f"{scenario}: requests {self.requests} failed {self.failed}{apart}, p99 {self.latency['p99']:g} ms"


@dataclass
class RunningLoad:
    """A generator's pod that is loading."""

    cluster: Cluster
    namespace: str
    pod: str
    _outcome: Outcome | None = field(default=None, init=False)

    def log(self) -> list[str]:
        """Its lines so far. Raises CommandError, also while its container is being made."""
        return self.cluster.kubectl.run("logs", self.pod, f"--namespace={self.namespace}").splitlines()

    def wait_until_loading(self) -> None:
        """Raises ClusterError with its log when it doesn't get there."""
        self._await(lambda lines: _progress(lines) > 0, START_WITHIN, "loading")

    def carry_on(self, seconds: float) -> None:
        """Return when the load went on for so long: seen in its progress, which it prints each second."""
        start = _progress(self.log())
        self._await(lambda lines: _progress(lines) >= start + seconds, seconds + 30, f"{seconds:g} s more of load")

    def finish(self, after: float = 2.0) -> Outcome:
        """Let it run on for a while, end it, and return its report."""
        if self._outcome is None:
            self.carry_on(after)
            self.cluster.kubectl.run(
                *("exec", self.pod, f"--namespace={self.namespace}", "--", "python", "-c", SIGTERM_TO_IT)
            )
            self._await(lambda lines: bool(lines) and lines[-1].startswith("{"), REPORT_WITHIN, "the report")
            self._outcome = Outcome(json.loads(self.log()[-1]))
        return self._outcome

    def _await(self, reached: Callable[[list[str]], bool], within: float, what: str) -> None:
        lines: list[str] = []

        def look() -> bool:
            # A look that fails shows nothing; the deadline stays.
            with contextlib.suppress(CommandError):
                lines[:] = self.log()
            return reached(lines) or _over(lines)

        seen(look, within, lambda: f"{what} of the load generator\n{self._told(lines)}")
        if not reached(lines):
            raise ClusterError(f"the load generator ended before: {what}\n{self._told(lines)}")

    def _told(self, lines: list[str]) -> str:
        """The end of its log, or what the cluster says of a pod that wrote none."""
        if lines:
            return tail("\n".join(lines))
        return tail(self.cluster.kubectl.run("describe", "pod", self.pod, f"--namespace={self.namespace}"))


def _progress(lines: list[str]) -> int:
    return sum(line.startswith("progress ") for line in lines)


def _over(lines: list[str]) -> bool:
    return bool(lines) and lines[-1].startswith(("{", "can't sign in"))


@contextmanager
def running_load(
    cluster: Cluster, namespace: str, image: str, traffic: Traffic | None = None, *, credentials: str = "slipway-admin"
) -> Iterator[RunningLoad]:
    """Load while the body changes things; `credentials` names the Secret with `email` and `password`.

    The pod is removed at the end, whatever happened. Only a finished load has a report: call `finish` in the body.
    """
    name = "load"
    load = RunningLoad(cluster, namespace, name)
    kubectl, scope = cluster.kubectl, f"--namespace={namespace}"
    kubectl.apply(_objects(name, image, traffic or Traffic(), credentials), namespace)
    try:
        load.wait_until_loading()
        yield load
    finally:
        kubectl.run("delete", "pod", name, scope, "--grace-period=0", "--force", "--ignore-not-found")
        kubectl.run("delete", "configmaps", scope, f"--selector={LABEL_NAME}={LABEL_VALUE}", "--ignore-not-found")


def _objects(name: str, image: str, traffic: Traffic, credentials: str) -> list[dict[str, Any]]:
    labels = {LABEL_NAME: LABEL_VALUE, "app.kubernetes.io/component": "load"}
    packages = traffic.program.modules()
    container = {
        "name": "load",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", traffic.program.module, "--credentials=/credentials", *traffic.options()],
        "env": [
            {"name": "PYTHONPATH", "value": "/modules"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *({"name": each, "mountPath": f"/modules/{each}", "readOnly": True} for each in packages),
            {"name": "credentials", "mountPath": "/credentials", "readOnly": True},
        ],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                *({"name": each, "configMap": {"name": f"{name}-modules-{each}"}} for each in packages),
                {"name": "credentials", "secret": {"secretName": credentials}},
            ],
        },
    }
    return [*(_config_map(f"{name}-modules-{each}", labels, files) for each, files in packages.items()), pod]


def _config_map(name: str, labels: dict[str, str], data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data}
