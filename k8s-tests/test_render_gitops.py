"""What docs/gitops.md tells Argo CD and Flux: their expressions, tried on the states that a resource has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import definitions
from charts.render import CHART
from cluster import packages
from cluster.progress import Progress

TEXT = (CHART.parent / "docs" / "gitops.md").read_text()
LUA = {"lua5.1": "lua5.1"}
"""Program → Debian package; Argo CD's own Lua is a 5.1 too."""

Document = dict[str, Any]


def blocks() -> list[Document]:
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]


def health_lua() -> str:
    (argo,) = [block["data"] for block in blocks() if "data" in block]
    customizations = yaml.safe_load(argo["resource.customizations"])
    script: str = customizations["slipway.dev/*"]["health.lua"]
    return script


@pytest.fixture
def lua(own_cluster: None) -> str:  # noqa: ARG001 - a machine that may install packages
    packages.ensure(LUA, Progress())
    return "lua5.1"


def literal(value: Any) -> str:
    """A value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}] = {literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(literal, value)) + "}"
    return json.dumps(value)


def resource(*conditions: tuple[str, str, str], seen: int = 2, **spec: Any) -> Document:
    """A resource of generation 2 with these conditions: type, status, reason."""
    told = [{"type": kind, "status": status, "reason": why, "message": "M."} for kind, status, why in conditions]
    return {"metadata": {"generation": 2}, "spec": spec, "status": {"observedGeneration": seen, "conditions": told}}


STATES: dict[str, tuple[Document, str]] = {
    "nothing yet": ({"metadata": {"generation": 1}, "spec": {}}, "Progressing"),
    "not seen yet": (resource(("Ready", "Unknown", "NotSeenYet"), seen=-1), "Progressing"),
    "yesterday's Ready": (resource(("Ready", "True", "UpToDate"), seen=1), "Progressing"),
    "yesterday's Stalled": (resource(("Ready", "False", "X"), ("Stalled", "True", "X"), seen=1), "Progressing"),
    "under way": (resource(("Ready", "False", "Expanding"), ("Reconciling", "True", "Expanding")), "Progressing"),
    "done": (resource(("Ready", "True", "UpToDate")), "Healthy"),
    "a contract waits": (
        resource(("Ready", "True", "AwaitingApproval"), ("ContractPending", "True", "AwaitingApproval")),
        "Healthy",
    ),
    "a plan waits": (
        resource(("Ready", "False", "AwaitingApproval"), ("Reconciling", "True", "AwaitingApproval")),
        "Suspended",
    ),
    "suspended": (resource(("Ready", "False", "Suspended"), suspend=True), "Suspended"),
    "stalled": (resource(("Ready", "False", "LintFailed"), ("Stalled", "True", "LintFailed")), "Degraded"),
    "stalled before": (resource(("Ready", "True", "UpToDate"), ("Stalled", "False", "UpToDate")), "Healthy"),
}


def judged(lua: str, script: str, state: Document, folder: Path) -> str:
    file = folder / "health.lua"
    file.write_text(
        f"obj = {literal(state)}\nlocal health = (function()\n{script}\nend)()\nprint(health.status, health.message)\n"
    )
    ended = subprocess.run([lua, str(file)], capture_output=True, text=True, check=True, timeout=20)
    status, message = ended.stdout.strip().split("\t")
    assert message
    return status


@pytest.mark.parametrize("state", STATES)
def test_argo_cd_sees_what_state_a_resource_is_in(lua: str, state: str, tmp_path: Path) -> None:
    document, expected = STATES[state]
    assert judged(lua, health_lua(), document, tmp_path) == expected


def test_without_the_generation_yesterdays_ready_would_be_taken_for_todays(lua: str, tmp_path: Path) -> None:
    blind = health_lua().replace("status.observedGeneration ~= obj.metadata.generation", "false")
    assert judged(lua, blind, STATES["yesterday's Ready"][0], tmp_path) == "Healthy"


def test_flux_is_told_of_a_kind_that_there_is_and_never_without_its_generation() -> None:
    (check,) = [check for block in blocks() for check in block.get("spec", {}).get("healthCheckExprs", ())]
    ours = {(each["spec"]["group"], each["spec"]["names"]["kind"]) for each in definitions.ours()}
    assert (check["apiVersion"].partition("/")[0], check["kind"]) in ours
    for name in ("inProgress", "failed", "current"):
        assert "status.observedGeneration" in check[name]
        assert "metadata.generation" in check[name]
