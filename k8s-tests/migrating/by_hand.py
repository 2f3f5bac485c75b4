"""The commands for which docs/operations.md has people render a Job, under Break-glass."""

from __future__ import annotations

import tempfile

import yaml

from cluster.errors import ClusterError
from load.installed import CHART
from load.looking import seen
from migrating.life import Life

DONE_WITHIN = 120.0
PATIENCE = "--patience=60"
"""Seconds for a server, or the network of a pod that has just come, to be there."""


def by_hand(life: Life, image: str, *arguments: str) -> str:
    """Run `slipway db …` of an image as a Job and return its log. Raises ClusterError when it fails."""
    cluster = life.cluster
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(life.values(image), file)
        file.flush()
        words = ("template", "slipway", str(CHART), life.scope, f"--values={file.name}")
        shown = ("--show-only=templates/migrations/by_hand.yaml", f"--set=migrations.byHand={{{','.join(arguments)}}}")
        job = cluster.helm.run(*words, *shown)
    name = cluster.kubectl.run("create", "--filename=-", "--output=name", life.scope, input=job).strip()

    def ended() -> str | None:
        conditions = cluster.kubectl.json("get", name, life.scope)["status"].get("conditions", [])
        ends = (one["type"] for one in conditions if one["status"] == "True")
        return next((end for end in ends if end in ("Complete", "Failed")), None)

    how = seen(ended, DONE_WITHIN, f"the end of {name}")
    log = cluster.kubectl.run("logs", name, life.scope)
    if how == "Failed":
        raise ClusterError(f"{name} {arguments} failed:\n{log}")
    return log
