"""Looks and writes in their order, against a data structure; what a server makes of them is proved on a real one."""

from __future__ import annotations

import gzip
from base64 import b64decode
from typing import Any

import pytest

from slipway_operator.cluster import ApiError, ConflictError, ForbiddenError, UnreachableError
from slipway_operator.migrations import sql
from slipway_operator.migrations.reconcile import Migrations
from slipway_operator.migrations.script import script_files
from slipway_operator.times import timestamp
from slipway_operator.worklist import Key
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import IMAGE_ID, deployment, plan_log, resource, revision

NOW = 1_795_000_000.0
KEY = Key("SchemaMigration", "one", "shop")


@pytest.fixture
def cluster() -> MemoryApi:
    api = MemoryApi()
    api.put("schemamigrations", resource())
    api.put("deployments", deployment())
    return api


@pytest.fixture
def migrations(cluster: MemoryApi) -> Migrations:
    return Migrations(cluster, clock=lambda: NOW)


def ready(api: MemoryApi) -> dict[str, Any]:
    found: dict[str, Any] = api.objects["schemamigrations", "shop"]["status"]["conditions"][0]
    return found


def end(api: MemoryApi, log: str) -> None:
    """What a cluster does with the only Job: its pod ends well, having written the log."""
    (job,) = api.all("jobs")
    name = job["metadata"]["name"]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": timestamp(NOW)}]}
    state = {"terminated": {"exitCode": 0}}
    metadata = {
        "name": "p",
        "namespace": "one",
        "creationTimestamp": timestamp(NOW),
        "labels": job["metadata"]["labels"],
        "ownerReferences": [{"name": name, "uid": job["metadata"]["uid"], "controller": True}],
    }
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "api", "imageID": IMAGE_ID, "state": state}]}
    api.put("pods", {"metadata": metadata, "spec": {}, "status": status})
    api.logs["p"] = log


def writes(api: MemoryApi) -> list[str]:
    return [call for call in api.calls if call.split()[0] not in ("get", "list", "log")]


async def test_the_first_look_says_what_it_does_and_then_makes_one_job(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    assert await migrations.reconcile(KEY) is not None

    assert writes(cluster) == ["apply_status schemamigrations", "create events", "create jobs"]
    (job,) = cluster.all("jobs")
    assert job["spec"]["template"]["spec"]["containers"][0]["args"][0] == "plan"
    status = cluster.objects["schemamigrations", "shop"]["status"]
    assert (status["phase"], ready(cluster)["reason"], status["observedGeneration"]) == ("Planning", "Planning", 3)
    assert job["metadata"]["annotations"]["slipway.dev/plan-key"] == status["planKey"]


async def test_a_restarted_operator_finds_its_job_and_makes_no_other(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    await migrations.reconcile(KEY)
    cluster.calls.clear()

    await Migrations(cluster, clock=lambda: NOW).reconcile(KEY)

    assert len(cluster.all("jobs")) == 1
    assert "create jobs" not in cluster.calls


async def test_a_job_that_appears_between_look_and_write_is_taken_for_ours(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    cluster.faults["create jobs"] = ConflictError(409, "AlreadyExists", "it is there")

    assert await migrations.reconcile(KEY)
    assert ready(cluster)["reason"] == "Planning"


async def test_a_plan_without_revisions_names_no_sql(cluster: MemoryApi, migrations: Migrations) -> None:
    await migrations.reconcile(KEY)
    end(cluster, plan_log())
    await migrations.reconcile(KEY)

    plan = cluster.objects["schemamigrations", "shop"]["status"]["plan"]
    assert (plan["revisions"], "sql" in plan) == ([], False)
    assert cluster.all("configmaps") == []


async def test_the_sql_is_there_before_the_status_that_names_it(cluster: MemoryApi, migrations: Migrations) -> None:
    await migrations.reconcile(KEY)
    end(cluster, plan_log(revision("0002", sql="CREATE TABLE a (id bigint);")))
    cluster.calls.clear()

    await migrations.reconcile(KEY)

    assert writes(cluster) == [
        "create configmaps",
        "apply configmaps",
        "apply_status schemamigrations",
        "create events",
        "create jobs",
    ]
    status = cluster.objects["schemamigrations", "shop"]["status"]
    assert status["plan"]["sql"] == {"name": "shop-plan", "key": "plan.sql"}
    assert "CREATE TABLE a" in cluster.objects["configmaps", "shop-plan"]["data"]["plan.sql"]


async def test_a_database_that_is_where_it_should_be_is_ready_and_left_alone(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    await migrations.reconcile(KEY)
    end(cluster, plan_log())
    assert await migrations.reconcile(KEY) is None
    assert ready(cluster)["status"] == "True"
    cluster.calls.clear()

    assert await migrations.reconcile(KEY) is None
    assert writes(cluster) == []


async def test_a_resource_that_was_changed_since_it_was_read_gets_no_job(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    cluster.faults["apply_status schemamigrations"] = ConflictError(409, "Conflict", "another version")

    assert await migrations.reconcile(KEY) == 0.0
    assert writes(cluster) == ["apply_status schemamigrations"]


async def test_a_status_that_cannot_be_written_lets_nothing_follow(cluster: MemoryApi, migrations: Migrations) -> None:
    cluster.faults["apply_status schemamigrations"] = UnreachableError(0, "Unreachable", "x")

    with pytest.raises(UnreachableError):
        await migrations.reconcile(KEY)
    assert cluster.all("jobs") == []


async def test_a_run_is_not_held_up_for_want_of_an_event(cluster: MemoryApi, migrations: Migrations) -> None:
    cluster.faults["create events"] = ForbiddenError(403, "Forbidden", "no")

    await migrations.reconcile(KEY)

    assert len(cluster.all("jobs")) == 1


@pytest.mark.parametrize(
    "error", [ForbiddenError(403, "Forbidden", "exceeded quota: jobs"), ApiError(422, "Invalid", "exceeded quota: x")]
)
async def test_a_job_that_the_server_refuses_is_the_reason_until_it_is_taken(
    cluster: MemoryApi, migrations: Migrations, error: ApiError
) -> None:
    cluster.faults["create jobs"] = error
    assert await migrations.reconcile(KEY) == 0.0
    assert await migrations.reconcile(KEY) == 15.0
    assert ready(cluster)["reason"] == "JobRefused"
    assert "exceeded quota" in ready(cluster)["message"]
    cluster.faults.clear()

    await migrations.reconcile(KEY)
    assert len(cluster.all("jobs")) == 1
    await migrations.reconcile(KEY)
    assert ready(cluster)["reason"] == "Planning"


async def test_a_server_that_is_away_is_no_refusal(cluster: MemoryApi, migrations: Migrations) -> None:
    cluster.faults["create jobs"] = UnreachableError(0, "Unreachable", "x")

    with pytest.raises(UnreachableError):
        await migrations.reconcile(KEY)


@pytest.mark.parametrize("call", ["get deployments", "list jobs", "apply configmaps"])
async def test_what_the_operator_may_not_do_is_said_once_and_recovers(
    cluster: MemoryApi, migrations: Migrations, call: str
) -> None:
    await migrations.reconcile(KEY)
    end(cluster, plan_log(revision("0002", sql="CREATE TABLE a (id bigint);")))
    cluster.faults[call] = ForbiddenError(403, "Forbidden", "exceeded quota: of one")
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            await migrations.reconcile(KEY)
    assert (ready(cluster)["status"], ready(cluster)["reason"]) == ("False", "ClusterRefuses")
    assert "exceeded quota: of one" in ready(cluster)["message"]
    assert [event["reason"] for event in cluster.all("events")] == ["Planning", "ClusterRefuses"]
    cluster.faults.clear()

    await migrations.reconcile(KEY)
    assert ready(cluster)["reason"] == "Expanding"


@pytest.mark.parametrize(
    "error", [UnreachableError(0, "Unreachable", "x"), ApiError(429, "TooManyRequests", "x"), ApiError(500, "E", "x")]
)
async def test_a_server_that_is_busy_changes_no_verdict(
    cluster: MemoryApi, migrations: Migrations, error: ApiError
) -> None:
    await migrations.reconcile(KEY)
    cluster.faults["list jobs"] = error
    cluster.calls.clear()

    with pytest.raises(ApiError):
        await migrations.reconcile(KEY)
    assert writes(cluster) == []


async def test_a_script_that_the_server_refuses_is_the_reason(cluster: MemoryApi, migrations: Migrations) -> None:
    cluster.put("schemamigrations", resource(config="/app/alembic.ini"))
    cluster.faults["apply configmaps"] = ForbiddenError(403, "Forbidden", "exceeded quota: configmaps")

    assert await migrations.reconcile(KEY) == 0.0
    assert await migrations.reconcile(KEY) == 15.0
    assert ready(cluster)["reason"] == "JobRefused"


async def test_a_workload_that_a_job_cannot_be_made_from_stalls(cluster: MemoryApi, migrations: Migrations) -> None:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    cluster.put("deployments", deployment(mounts, volumes=[{"name": "data", "persistentVolumeClaim": {}}]))

    assert await migrations.reconcile(KEY) == 15.0
    assert cluster.all("jobs") == []
    assert ready(cluster)["reason"] == "VolumeNotSupported"


async def test_a_job_of_an_earlier_wish_that_never_began_is_removed(cluster: MemoryApi, migrations: Migrations) -> None:
    await migrations.reconcile(KEY)
    cluster.objects["schemamigrations", "shop"]["spec"]["image"] = "registry.example/shop:3"

    await migrations.reconcile(KEY)

    assert cluster.all("jobs") == []


@pytest.mark.parametrize("mend", ["memory", "budget"])
async def test_a_failed_run_is_tried_again_once_workload_or_limits_are_others(
    cluster: MemoryApi, migrations: Migrations, mend: str
) -> None:
    cluster.put("schemamigrations", resource(retries=0))
    await migrations.reconcile(KEY)
    end(cluster, plan_log(revision("0002", sql="CREATE TABLE a (id bigint);")))
    await migrations.reconcile(KEY)
    expand = cluster.all("jobs")[-1]
    expand["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": timestamp(NOW)}]}
    for _ in range(2):
        assert await migrations.reconcile(KEY) == 300.0
    assert (ready(cluster)["reason"], len(cluster.all("jobs"))) == ("JobFailed", 2)

    if mend == "memory":
        cluster.put("deployments", deployment({"resources": {"limits": {"memory": "1Gi"}}}))
    else:
        cluster.objects["schemamigrations", "shop"]["spec"]["budget"] = "2h"
    await migrations.reconcile(KEY)
    assert (ready(cluster)["reason"], len(cluster.all("jobs"))) == ("Expanding", 3)


async def test_plain_alembic_gets_its_script_before_the_job(cluster: MemoryApi, migrations: Migrations) -> None:
    cluster.put("schemamigrations", resource(config="/app/alembic.ini"))

    await migrations.reconcile(KEY)

    assert writes(cluster)[-3:] == ["create configmaps", "apply configmaps", "create jobs"]
    script = cluster.objects["configmaps", "shop-script"]["data"]
    assert script == script_files()
    assert "plain_alembic.py" in script


async def test_an_event_is_written_only_on_a_transition(cluster: MemoryApi, migrations: Migrations) -> None:
    await migrations.reconcile(KEY)
    await migrations.reconcile(KEY)

    (event,) = cluster.all("events")
    assert (event["reason"], event["type"], event["involvedObject"]["name"]) == ("Planning", "Normal", "shop")


async def test_the_same_reason_is_told_again_when_a_person_must_act_now(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    await migrations.reconcile(KEY)
    status = cluster.objects["schemamigrations", "shop"]["status"]
    reason = {"reason": "SpecInvalid", "status": "False", "lastTransitionTime": timestamp(NOW)}
    status["conditions"] = [{"type": kind, **reason} for kind in ("Ready", "Reconciling")]
    cluster.objects["schemamigrations", "shop"]["spec"]["consumers"] = {"selector": {}}

    await migrations.reconcile(KEY)

    assert [event["reason"] for event in cluster.all("events")] == ["Planning", "SpecInvalid"]


async def test_a_spec_that_cannot_be_followed_is_said_with_a_warning(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    cluster.put("schemamigrations", resource(consumers={"selector": {}}))

    await migrations.reconcile(KEY)

    assert ready(cluster)["reason"] == "SpecInvalid"
    assert cluster.all("events")[0]["type"] == "Warning"
    assert cluster.all("jobs") == []


async def test_a_resource_that_is_gone_is_left(migrations: Migrations) -> None:
    assert await migrations.reconcile(KEY._replace(name="other")) is None


def test_large_sql_is_compressed_and_what_does_not_fit_even_so_is_cut() -> None:
    small, large = "x" * 1000, "SELECT 1;\n" * 40_000
    huge = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(1_300_000))
    bodies = [sql.config_map(resource(), "shop-plan", text) for text in (small, large, huge)]

    assert bodies[0]["data"] == {"plan.sql": small}
    assert gzip.decompress(b64decode(bodies[1]["binaryData"]["plan.sql.gz"])).decode() == large
    shown = gzip.decompress(b64decode(bodies[2]["binaryData"]["plan.sql.gz"])).decode()
    assert huge.startswith(shown.partition("\n")[0])
    assert "too long" in shown
    assert all(len(str(body)) < 1_000_000 for body in bodies)
