from __future__ import annotations

import asyncio
import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from slipway_operator import definitions, telemetry
from slipway_operator.cluster import Api
from slipway_operator.migrations.observe import MIGRATIONS
from slipway_operator.statuses import write_status
from unit.operator.conftest import ScriptedServer
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import resource

CHART = Path(__file__).parents[3] / "chart" / "crds"


def openapi(schema: Any, kind: str = "SchemaMigration") -> dict[str, Any]:
    """A cluster that knows that one of SchemaMigration, and the other kinds as they are."""
    schemas = {each: definitions.shipped()[each] for each in definitions.NEEDED[1:]} | {kind: schema}
    return {
        "components": {"schemas": {f"dev.slipway.v1alpha1.{each}": _known(schemas[each], each) for each in schemas}}
    }


def _known(schema: Any, kind: str) -> dict[str, Any]:
    return {**schema, definitions.GVK: [{"group": "slipway.dev", "version": "v1alpha1", "kind": kind}]}


@pytest.fixture
def ours() -> dict[str, Any]:
    return copy.deepcopy(dict(definitions.shipped()["SchemaMigration"]))


def outdated() -> float | None:
    return telemetry.REGISTRY.get_sample_value("slipway_operator_definitions_outdated")


def test_the_package_s_definitions_are_the_chart_s() -> None:
    assert definitions.texts() == [path.read_text() for path in sorted(CHART.glob("*.yaml"))], "run `make chart`"


def test_all_definitions_are_printed_as_one_stream() -> None:
    documents = list(yaml.safe_load_all(definitions.as_stream()))
    assert {document["kind"] for document in documents} == {"CustomResourceDefinition"}
    assert {document["metadata"]["name"] for document in documents} == {path.stem for path in CHART.glob("*.yaml")}


def test_the_command_prints_them_too() -> None:
    from slipway_operator.main import main  # noqa: PLC0415 - the rest needs none of what it imports

    ended = CliRunner().invoke(main, ["crds"])
    assert (ended.exit_code, ended.output) == (0, definitions.as_stream())


def test_equal_definitions_lack_nothing(ours: dict[str, Any]) -> None:
    assert list(definitions.missing(ours, ours)) == []


def test_each_field_and_value_that_the_cluster_lacks_is_named(ours: dict[str, Any]) -> None:
    theirs = copy.deepcopy(ours)
    del theirs["properties"]["spec"]["properties"]["lockTimeout"]
    del theirs["properties"]["status"]["properties"]["history"]["items"]["properties"]["took"]
    theirs["properties"]["spec"]["properties"]["approval"]["enum"].remove("Always")
    assert sorted(definitions.missing(ours, theirs)) == [
        ".spec.approval: Always",
        ".spec.lockTimeout",
        ".status.history[].took",
    ]
    # What the cluster has beyond ours is a newer definition, and none of our business.
    assert list(definitions.missing(theirs, ours)) == []


def test_metadata_is_the_cluster_s_own(ours: dict[str, Any]) -> None:
    ours["properties"]["metadata"] = {"properties": {"name": {}}}
    theirs = {**ours, "properties": {**ours["properties"], "metadata": {}}}
    assert list(definitions.missing(ours, theirs)) == []


async def test_old_definitions_are_said_loudly(
    api: Api, server: ScriptedServer, ours: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    theirs = copy.deepcopy(ours)
    del theirs["properties"]["spec"]["properties"]["lockTimeout"]
    server.answers = [(200, openapi(theirs))]
    await definitions.until_served(api)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "lacks SchemaMigration.spec.lockTimeout" in record.getMessage()
    assert "slipway-operator crds | kubectl apply --server-side" in record.getMessage()
    assert outdated() == 1
    server.answers = [(200, openapi(ours))]
    caplog.clear()
    await definitions.until_served(api)
    assert (caplog.records, outdated()) == ([], 0)


async def test_it_waits_for_definitions_that_are_not_there_and_says_so_once(
    api: Api, server: ScriptedServer, ours: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    absent = (404, {"reason": "NotFound"})
    server.answers = [absent, absent, (200, openapi(ours, kind="KeyRing")), (200, openapi(ours))]
    await asyncio.wait_for(definitions.until_served(api, interval=0.01), 5)
    none, one = caplog.records
    assert "doesn't know SchemaMigration, KeyRing, DatabaseLogin." in none.getMessage()
    assert "The cluster doesn't know SchemaMigration" in one.getMessage()
    assert server.asked[0].path == "/openapi/v3/apis/slipway.dev/v1alpha1"


async def test_it_waits_for_a_cluster_that_does_not_answer(
    api: Api, server: ScriptedServer, ours: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [None] * 10 + [(200, openapi(ours))]
    await asyncio.wait_for(definitions.until_served(api, interval=0.01), 10)
    assert len(caplog.records) == 1
    assert "can't be read" in caplog.records[0].getMessage()


async def test_definitions_that_are_mended_later_are_taken_up_without_a_restart(
    api: Api, server: ScriptedServer, ours: dict[str, Any]
) -> None:
    theirs = copy.deepcopy(ours)
    del theirs["properties"]["status"]["properties"]["revision"]
    server.answers = [(200, openapi(theirs)), (200, openapi(theirs)), (500, {}), *[(200, openapi(ours))] * 9]
    await definitions.until_served(api)
    assert "revision" not in api.definitions["SchemaMigration"]["properties"]["status"]["properties"]
    await asyncio.wait_for(definitions.until_whole(api, interval=0.01), 20)
    assert "revision" in api.definitions["SchemaMigration"]["properties"]["status"]["properties"]
    assert outdated() == 0


def test_of_a_status_only_what_the_cluster_has_fields_for_is_kept(ours: dict[str, Any]) -> None:
    schema = ours["properties"]["status"]
    del schema["properties"]["revision"]
    del schema["properties"]["history"]["items"]["properties"]["took"]
    status = {"revision": "1", "attempts": {"plan": 2}, "history": [{"to": "1", "took": "3s"}], "done": ["plan"]}
    assert definitions.declared(status, schema) == {
        "attempts": {"plan": 2}, "history": [{"to": "1"}], "done": ["plan"],
    }  # fmt: skip
    assert definitions.declared(status, None) == status


async def test_a_status_is_written_without_fields_that_the_cluster_lacks_and_only_once(ours: dict[str, Any]) -> None:
    del ours["properties"]["status"]["properties"]["revision"]
    cluster = MemoryApi()
    cluster.put("schemamigrations", resource())
    cluster.definitions = {"SchemaMigration": ours}
    wish = {"revision": "0001", "target": "0002"}
    for _ in range(2):
        found = cluster.objects["schemamigrations", "shop"]
        assert await write_status(cluster, MIGRATIONS, found, wish, ("Ready", "UpToDate", "x"), 0.0, whole=False)
    assert cluster.objects["schemamigrations", "shop"]["status"] == {"target": "0002"}
    assert cluster.calls.count("apply_status schemamigrations") == 1
