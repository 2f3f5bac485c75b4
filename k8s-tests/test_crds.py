"""The three kinds of slipway.dev, as a real API server takes them: examples, refusals with their sentence, columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from charts import definitions
from charts.resources import COMPLETE, IMMUTABLE, KINDS, REFUSED, STATUS, changed, resource
from cluster.commands import CommandError
from cluster.kubectl import Kubectl
from cluster.model import Cluster

COLUMNS = {
    "SchemaMigration": ["NAME", "READY", "REASON", "REVISION", "TARGET", "PENDING", "AGE"],
    "KeyRing": ["NAME", "READY", "SIGNING", "SINCE", "NEXT", "REASON", "AGE"],
    "DatabaseLogin": ["NAME", "READY", "ROLE", "SINCE", "NEXT", "REASON", "AGE"],
}
SHORT_NAMES = {"SchemaMigration": "sm", "KeyRing": "kr", "DatabaseLogin": "dl"}


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    definitions.establish(cluster.kubectl, definitions.ours())
    return cluster.kubectl


@pytest.fixture(scope="module")
def one_namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace(f"test-crds-{uuid4().hex[:8]}") as name:
        yield name


@pytest.fixture
def namespace(kubectl: Kubectl, one_namespace: str) -> Iterator[str]:
    """One for all tests here, because removing a namespace takes seconds; emptied after each."""
    yield one_namespace
    kubectl.run("delete", "slipway", "--all", f"--namespace={one_namespace}")


def dry_run(kubectl: Kubectl, document: dict[str, Any]) -> dict[str, Any]:
    answer = kubectl.run("create", "--dry-run=server", "--filename=-", "--output=json", input=yaml.safe_dump(document))
    created: dict[str, Any] = json.loads(answer)
    return created


def refusal(kubectl: Kubectl, *arguments: str, document: dict[str, Any]) -> str:
    with pytest.raises(CommandError) as raised:
        kubectl.run(*arguments, "--filename=-", input=yaml.safe_dump(document))
    return " ".join(raised.value.stderr.split())


def read(kubectl: Kubectl, namespace: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.json("get", kind.lower(), "example", f"--namespace={namespace}")
    return found


def write_status(kubectl: Kubectl, namespace: str, kind: str, ready: str = "False") -> None:
    """As an operator does, by server-side apply to the status subresource."""
    status = {**STATUS[kind], "conditions": [{**STATUS[kind]["conditions"][0], "status": ready}]}
    document = {**resource(kind), "status": status}
    document.pop("spec")
    arguments = ("--server-side", "--subresource=status", "--field-manager=operator", f"--namespace={namespace}")
    kubectl.run("apply", *arguments, "--filename=-", input=yaml.safe_dump(document))


@pytest.mark.parametrize("kind", KINDS)
def test_the_definition_is_structural_and_established(kubectl: Kubectl, kind: str) -> None:
    found = kubectl.json("get", "customresourcedefinition", f"{kind.lower()}s.slipway.dev")
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}

    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_example_is_accepted(kubectl: Kubectl, kind: str) -> None:
    dry_run(kubectl, resource(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_complete_example_is_accepted_and_kept_whole(kubectl: Kubectl, kind: str) -> None:
    kept = dry_run(kubectl, resource(kind, **COMPLETE[kind]))["spec"]

    assert changed(kept, COMPLETE[kind]) == kept


def test_plain_alembic_takes_a_config_instead_of_a_command(kubectl: Kubectl) -> None:
    assert "command" not in dry_run(kubectl, resource("SchemaMigration", config="/app/alembic.ini"))["spec"]


@pytest.mark.parametrize("kind", ["KeyRing", "DatabaseLogin"])
def test_who_refers_to_the_secret_needs_no_selector(kubectl: Kubectl, kind: str) -> None:
    assert "consumers" not in dry_run(kubectl, resource(kind, consumers=None))["spec"]
    found = dry_run(kubectl, resource(kind, consumers={"selector": None, "port": 9191}))["spec"]["consumers"]
    assert found == {"port": 9191, "path": "/keys", "scheme": "HTTP"}


def test_a_rotation_that_just_fits_is_accepted(kubectl: Kubectl) -> None:
    dry_run(kubectl, resource("KeyRing", rotateEvery="30m1s"))


@pytest.mark.parametrize(("kind", "patch", "sentence"), REFUSED)
def test_what_cannot_work_is_refused_with_a_sentence(
    kubectl: Kubectl, kind: str, patch: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(kubectl, "create", "--dry-run=server", document=resource(kind, **patch))


def test_every_rule_of_the_definitions_has_a_test_that_provokes_its_sentence() -> None:
    tested = [sentence for *_, sentence in [*REFUSED, *IMMUTABLE]]
    said = {heart(rule) for definition in definitions.ours() for rule in rules(definition["spec"]["versions"])}

    assert [words for words in said if not any(words in sentence or sentence in words for sentence in tested)] == []


def rules(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [rule for part in schema for rule in rules(part)]
    if not isinstance(schema, dict):
        return []
    nested = [part for key, part in schema.items() if key != "x-kubernetes-validations"]
    return [*schema.get("x-kubernetes-validations", []), *rules(nested)]


def heart(rule: dict[str, Any]) -> str:
    """The sentence of a rule, or its longest part that is always the same."""
    return str(rule.get("message") or max(rule["messageExpression"].split("'")[1::2], key=len)).strip()


@pytest.mark.parametrize(("kind", "patch", "sentence"), IMMUTABLE)
def test_a_change_that_would_lose_something_is_refused(
    kubectl: Kubectl, namespace: str, kind: str, patch: dict[str, Any], sentence: str
) -> None:
    kubectl.apply([resource(kind)], namespace)

    arguments = ("apply", "--server-side", f"--namespace={namespace}")
    assert sentence in refusal(kubectl, *arguments, document=resource(kind, **patch))


@pytest.mark.parametrize("kind", KINDS)
def test_a_resource_that_nobody_looked_at_says_so_and_looks_unfinished(
    kubectl: Kubectl, namespace: str, kind: str
) -> None:
    kubectl.apply([resource(kind)], namespace)

    status = read(kubectl, namespace, kind)["status"]
    assert status["observedGeneration"] == -1
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [("Ready", "Unknown", "NotSeenYet")]


@pytest.fixture
def ring_chart(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: ring, version: 0.1.0}\n")
    (tmp_path / "templates" / "ring.yaml").write_text(yaml.safe_dump(resource("KeyRing")))
    return tmp_path


def test_helm_waits_for_a_resource_until_an_operator_says_ready(
    cluster: Cluster, kubectl: Kubectl, namespace: str, ring_chart: Path
) -> None:
    waiting = ("upgrade", "--install", "ring", str(ring_chart), f"--namespace={namespace}", "--wait")
    with pytest.raises(CommandError, match="not ready"):
        cluster.helm.run(*waiting, "--timeout=2s")

    write_status(kubectl, namespace, "KeyRing", ready="True")

    cluster.helm.run(*waiting, "--timeout=60s")


def test_what_is_left_out_gets_its_default(kubectl: Kubectl) -> None:
    ring = dry_run(kubectl, resource("KeyRing"))["spec"]
    migration = dry_run(kubectl, resource("SchemaMigration"))["spec"]
    login = dry_run(kubectl, resource("DatabaseLogin"))["spec"]

    assert (ring["algorithm"], ring["rotateEvery"], ring["evidence"]) == ("EdDSA", "720h", "Endpoint")
    assert (ring["consumers"]["port"], ring["consumers"]["path"]) == (9090, "/keys")
    assert (migration["approval"], migration["lint"], migration["budget"]) == ("Never", {"failOn": "Error"}, "1h")
    assert (login["rotateEvery"], login["historyLimit"]) == ("720h", 10)


@pytest.mark.parametrize("kind", KINDS)
def test_applying_the_same_again_changes_nothing(kubectl: Kubectl, namespace: str, kind: str) -> None:
    complete = resource(kind, **COMPLETE[kind])
    kubectl.apply([complete], namespace)
    write_status(kubectl, namespace, kind)
    first = read(kubectl, namespace, kind)["metadata"]
    kubectl.apply([complete], namespace)
    second = read(kubectl, namespace, kind)["metadata"]

    assert (second["generation"], second["resourceVersion"]) == (1, first["resourceVersion"])


def test_applying_the_definitions_again_changes_nothing(kubectl: Kubectl) -> None:
    def versions() -> list[str]:
        names = [definition["metadata"]["name"] for definition in definitions.ours()]
        found = kubectl.json("get", "customresourcedefinition", *names)["items"]
        return [item["metadata"]["resourceVersion"] for item in found]

    first = versions()
    definitions.establish(kubectl, definitions.ours())

    assert versions() == first


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_say_whether_it_is_fine_and_if_not_why(kubectl: Kubectl, namespace: str, kind: str) -> None:
    kubectl.apply([resource(kind)], namespace)
    write_status(kubectl, namespace, kind)

    head, row = kubectl.run("get", SHORT_NAMES[kind], f"--namespace={namespace}").splitlines()
    wide = kubectl.run("get", SHORT_NAMES[kind], "--output=wide", f"--namespace={namespace}")
    condition = STATUS[kind]["conditions"][0]
    assert head.split() == COLUMNS[kind]
    assert {"False", condition["reason"]} <= set(row.split())
    assert "<invalid>" not in row
    assert condition["message"] in wide


def test_one_word_shows_all_of_slipway(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply([resource(kind) for kind in KINDS], namespace)

    shown = kubectl.run("get", "slipway", "--output=name", f"--namespace={namespace}").split()
    assert sorted(shown) == [
        "databaselogin.slipway.dev/example",
        "keyring.slipway.dev/example",
        "schemamigration.slipway.dev/example",
    ]


def test_a_status_can_only_be_written_through_its_subresource(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply([{**resource("KeyRing"), "status": STATUS["KeyRing"]}], namespace)

    assert read(kubectl, namespace, "KeyRing")["status"]["observedGeneration"] == -1
