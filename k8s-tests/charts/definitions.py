"""Custom resource definitions in a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.kubectl import Kubectl

FOLDER = Path(__file__).resolve().parents[2] / "chart" / "crds"
ESTABLISHED_SECONDS = 30.0

Definition = dict[str, Any]


def ours() -> list[Definition]:
    """SchemaMigration, KeyRing and DatabaseLogin, as the chart brings them."""
    return [yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]


def absent(kubectl: Kubectl, definitions: Sequence[Definition]) -> list[Definition]:
    """Those that the cluster doesn't have, in whatever version."""
    present = kubectl.run("get", "customresourcedefinitions", "--output=name").split()
    names = {name.partition("/")[2] for name in present}
    return [definition for definition in definitions if definition["metadata"]["name"] not in names]


def establish(kubectl: Kubectl, definitions: Sequence[Definition]) -> None:
    """Apply them, as an upgrade does, and wait until their objects are served. A warning counts as an error."""
    if not definitions:
        return
    text = yaml.safe_dump_all(definitions)
    kubectl.run("apply", "--server-side", "--force-conflicts", "--warnings-as-errors", "--filename=-", input=text)
    for definition in definitions:
        name = f"customresourcedefinition/{definition['metadata']['name']}"
        kubectl.wait(name, "Established", timeout=ESTABLISHED_SECONDS)


def remove(kubectl: Kubectl, definitions: Sequence[Definition]) -> None:
    """Take them away, and with them all objects of their kinds."""
    for definition in definitions:
        kubectl.run("delete", f"customresourcedefinition/{definition['metadata']['name']}", "--ignore-not-found")
