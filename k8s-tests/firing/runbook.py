"""A runbook's commands, run as a person does who pastes them."""

from __future__ import annotations

import os

from cluster.commands import run
from cluster.model import Cluster
from runbook_pages import Page, pages

BLOCK_SECONDS = 240.0


def page(name: str) -> Page:
    return next(each for each in pages() if each.name == name)


def follow(cluster: Cluster, namespace: str, name: str, section: str) -> None:
    """Every block of a section of that runbook. CommandError for the first that fails."""
    programs = [str(program.parent) for program in (cluster.kubectl.path, cluster.helm.path)]
    for block in page(name).blocks(section=section):
        run(
            ["bash", "-euo", "pipefail", "-c", block],
            environment={
                **cluster.kubectl.environment,
                "KUBECONFIG": str(cluster.kubeconfig),
                "NAMESPACE": namespace,
                "RELEASE": "slipway",
                "PATH": os.pathsep.join([*programs, os.environ.get("PATH", os.defpath)]),
            },
            timeout=BLOCK_SECONDS,
        )
