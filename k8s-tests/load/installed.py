"""One release of the chart, made for loading: short drains, a limit that doesn't meet the load, small requests."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.model import Cluster

CHART = Path(__file__).parents[2] / "chart"
GRACEFUL = {"preStopSeconds": 2, "drainSeconds": 3, "shutdownSeconds": 5, "minReadySeconds": 1}
"""Seconds. Shorter than the chart's defaults in everything, so what holds here holds there."""
ABRUPT = {**GRACEFUL, "preStopSeconds": 0, "drainSeconds": 0}
"""The guard switched off: SIGTERM at once, and listeners closed with it."""


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
        "extraEnv": [{"name": "SLIPWAY_RATE_LIMIT", "value": "1000000"}],
        **others,
    }


@dataclass(frozen=True)
class Installed:
    cluster: Cluster
    namespace: str
    release: str = "slipway"

    def apply(self, wanted: dict[str, Any], timeout: float = 120) -> None:
        """Install or upgrade, and wait until Helm calls it ready; `timeout` in seconds."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(wanted, file)
            file.flush()
            self.cluster.helm.run(
                *("upgrade", "--install", self.release, str(CHART), f"--namespace={self.namespace}"),
                *(f"--values={file.name}", "--wait", f"--timeout={timeout:g}s"),
                timeout=timeout + 15,
            )
