"""Runbooks against programs and chart: kubectl and Helm know each flag, and each selector finds what it is meant to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from charts.render import Objects, Renderer
from cluster.binaries import tool
from cluster.commands import run
from runbook_pages import GIVEN, Page, calls, pages

KINDS = {
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "schemamigrations": "SchemaMigration",
    "keyrings": "KeyRing",
    "databaselogins": "DatabaseLogin",
}
"""What pages call kinds of which the chart renders objects."""


@cache
def flags(program: str, *verb: str) -> set[str]:
    """Those that a command takes, its program's own included."""
    path = tool(program)
    told = run([path, *verb, "--help"]) + (run([path, "options"]) if program == "kubectl" else "")
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", told))


def verb(call: list[str]) -> list[str]:
    """`rollout status` of `kubectl -n ships rollout status …`."""
    words = call[3:]
    two = words[0] == "rollout" or (call[0] == "helm" and words[0] == "get")
    return words[: 2 if two else 1]


def unknown_flags(call: list[str]) -> set[str]:
    words = call[1 : call.index("--")] if "--" in call else call[1:]
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return given - flags(call[0], *verb(call))


def labels_of(selector: str) -> Iterator[tuple[str, set[str]]]:
    """Label and the values that it may have, of `a=b,c in (d, e)`."""
    for label, one, many in re.findall(r"([\w./-]+)(?:=([\w-]+)| in \(([^)]*)\))", selector):
        yield label, {one} if one else set(re.split(r",\s*", many))


def matches(document: dict[str, Any], selector: str) -> bool:
    labels = document["metadata"]["labels"]
    return all(labels.get(label) in wanted for label, wanted in labels_of(selector))


def missed(call: list[str], objects: Objects) -> list[str]:
    """Kinds of the chart's that a command asks for and, with its selector, doesn't find."""
    if "-l" not in call:
        return []
    selector = call[call.index("-l") + 1]
    kinds = {KINDS[name] for word in call for name in word.split(",") if name in KINDS}
    return [kind for kind in kinds if not any(matches(found, selector) for found in objects.of_kind(kind))]


def pods_missed(call: list[str], objects: Objects) -> bool:
    """Whether a command asks for pods by a selector that no pod of the release would match."""
    if "-l" not in call or not {"logs", "pods", "deployments,pods", "statefulsets,pods"} & set(call):
        return False
    selector = call[call.index("-l") + 1]
    # The operator makes the pods of a migration; with the label of the Job that `migrations.mode: job` renders.
    return "component=migrate" not in selector and not any(matches(pod, selector) for pod in objects.pods().values())


@pytest.fixture(scope="module")
def demo(renderer: Renderer) -> Objects:
    return renderer.objects({"demo": True}, release=GIVEN["RELEASE"], namespace=GIVEN["NAMESPACE"])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_kubectl_and_helm_take_each_command_and_it_finds_its_objects(page: Page, demo: Objects, tmp_path: Path) -> None:
    for block in page.blocks():
        for call in calls(block, tmp_path):
            if call[0] != "jq":
                assert unknown_flags(call) == set(), call
                assert missed(call, demo) == [], call
                assert not pods_missed(call, demo), call


@pytest.mark.parametrize("call", ["kubectl -n ships logs api --tails=5", "helm -n ships rollback x --wait-long"])
def test_a_flag_that_a_program_lacks_is_objected_to(call: str) -> None:
    assert unknown_flags(call.split())


@pytest.mark.parametrize("selector", ["app.kubernetes.io/component=server", "app.kubernetes.io/instance=others"])
def test_a_selector_that_finds_nothing_is_objected_to(selector: str, demo: Objects) -> None:
    call = ["kubectl", "-n", "ships", "get", "deployments,pods", "-l", selector]
    assert missed(call, demo) == ["Deployment"]
    assert pods_missed(call, demo)
