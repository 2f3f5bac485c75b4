"""The commands for which docs/operations.md has people render a Job, under Break-glass."""

from __future__ import annotations

import tempfile

import yaml

from load.installed import CHART
from migrating.life import Life

DONE_WITHIN = 60.0


def by_hand(life: Life, image: str, *arguments: str) -> str:
    """Run `slipway db …` of an image as a Job and return its log. Raises CommandError when it fails."""
    cluster = life.cluster
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(life.values(image), file)
        file.flush()
        words = ("template", "slipway", str(CHART), life.scope, f"--values={file.name}")
        shown = ("--show-only=templates/migrations/by_hand.yaml", f"--set=migrations.byHand={{{','.join(arguments)}}}")
        job = cluster.helm.run(*words, *shown)
    name = cluster.kubectl.run("create", "--filename=-", "--output=name", life.scope, input=job).strip()
    cluster.kubectl.wait(name, "Complete", life.namespace, DONE_WITHIN)
    return cluster.kubectl.run("logs", name, life.scope)
