"""One release of the chart, made for loading: short drains, a limit that doesn't meet the load, small requests."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.commands import CommandError
from cluster.errors import ClusterError
from cluster.model import Cluster

CHART = Path(__file__).parents[2] / "chart"
GRACEFUL = {"preStopSeconds": 2, "drainSeconds": 3, "shutdownSeconds": 5, "minReadySeconds": 1}
"""Seconds. Shorter than the chart's defaults in everything, so what holds here holds there."""
ABRUPT = {**GRACEFUL, "preStopSeconds": 0, "drainSeconds": 0}
"""The guard switched off: SIGTERM at once, and listeners closed with it."""
PATIENT = {
    "SLIPWAY_RATE_LIMIT": "1000000",
    "SLIPWAY_DATABASE_CONNECT_TIMEOUT": "15",
    "SLIPWAY_DATABASE_POOL_TIMEOUT": "15",
    "SLIPWAY_REQUEST_DEADLINE": "20",
}
"""Replaced pods must not fail a request; a small machine that runs a whole cluster beside them may be slow."""


def values(image: str, *, rollout: dict[str, int] | None = None, **others: Any) -> dict[str, Any]:
    """Values of the chart; `others` go on top."""
    repository, tag = image.rsplit(":", 1)
    return {
        "demo": True,
        "replicas": 2,
        "image": {"repository": repository, "tag": tag},
        "rollout": rollout or GRACEFUL,
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "384Mi"}},
        "worker": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "384Mi"}}},
        "extraEnv": [{"name": name, "value": value} for name, value in PATIENT.items()],
        **others,
    }


@dataclass(frozen=True)
class Installed:
    cluster: Cluster
    namespace: str
    release: str = "slipway"

    def apply(self, wanted: dict[str, Any], timeout: float = 120, chart: Path = CHART) -> None:
        """Install or upgrade, and wait until Helm calls it ready; `timeout` in seconds."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(wanted, file)
            file.flush()
            try:
                self.cluster.helm.run(
                    *("upgrade", "--install", self.release, str(chart), f"--namespace={self.namespace}"),
                    *(f"--values={file.name}", "--skip-crds", "--wait", "--wait-for-jobs", f"--timeout={timeout:g}s"),
                    timeout=timeout + 15,
                )
            except CommandError as error:
                raise ClusterError(f"{error}\n{self._pods()}") from None

    def _pods(self) -> str:
        """The pods, and the last lines of each container in those that aren't ready."""
        kubectl, scope = self.cluster.kubectl, f"--namespace={self.namespace}"
        told = [kubectl.run("get", "pods", scope)]
        for pod in kubectl.json("get", "pods", scope)["items"]:
            name, status = pod["metadata"]["name"], pod["status"]
            running = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
            if status["phase"] != "Succeeded" and not all(container["ready"] for container in running):
                with contextlib.suppress(CommandError):
                    told.append(kubectl.run("logs", name, scope, "--all-containers", "--prefix", "--tail=5"))
        return "\n".join(told)
