"""Objects of our names that somebody else made: told, and left alone."""

from __future__ import annotations

import pytest

from slipway_operator.cluster import ConflictError
from slipway_operator.migrations.reconcile import Migrations
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import deployment, plan_log, resource, revision
from unit.operator.test_migration_apply import KEY, NOW, end, ready


@pytest.fixture
def cluster() -> MemoryApi:
    api = MemoryApi()
    api.put("schemamigrations", resource())
    api.put("deployments", deployment())
    return api


@pytest.fixture
def migrations(cluster: MemoryApi) -> Migrations:
    return Migrations(cluster, clock=lambda: NOW)


async def test_a_job_of_our_name_that_is_somebody_elses_is_told_and_left_alone(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    await migrations.reconcile(KEY)
    (ours,) = cluster.all("jobs")
    theirs = {"metadata": {"name": ours["metadata"]["name"], "uid": "theirs"}, "spec": {}}
    cluster.put("jobs", theirs)

    assert await migrations.reconcile(KEY) == 0.0
    assert await migrations.reconcile(KEY) == 15.0
    assert ready(cluster)["reason"] == "JobNotOurs"
    assert ours["metadata"]["name"] in ready(cluster)["message"]
    assert cluster.all("jobs") == [theirs]

    del cluster.objects["jobs", ours["metadata"]["name"]]
    await migrations.reconcile(KEY)
    await migrations.reconcile(KEY)
    assert ready(cluster)["reason"] == "Planning"


async def test_a_plan_whose_config_map_is_somebody_elses_is_told_and_read_again_once_that_is_gone(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    theirs = {"metadata": {"name": "shop-plan", "labels": {"app": "theirs"}}, "data": {"plan.sql": "theirs"}}
    cluster.put("configmaps", theirs)
    await migrations.reconcile(KEY)
    end(cluster, plan_log(revision("0002", sql="CREATE TABLE a (id bigint);")))

    assert await migrations.reconcile(KEY) == 15.0
    assert cluster.objects["configmaps", "shop-plan"] == theirs
    assert (ready(cluster)["reason"], len(cluster.all("jobs"))) == ("ConfigMapNotOurs", 1)
    assert "plan" not in cluster.objects["schemamigrations", "shop"]["status"]

    del cluster.objects["configmaps", "shop-plan"]
    await migrations.reconcile(KEY)
    assert (ready(cluster)["reason"], len(cluster.all("jobs"))) == ("Expanding", 2)
    assert "CREATE TABLE a" in cluster.objects["configmaps", "shop-plan"]["data"]["plan.sql"]


async def test_a_script_whose_config_map_is_somebody_elses_starts_no_job(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    theirs = {"metadata": {"name": "shop-script"}, "data": {"plain_alembic.py": "theirs"}}
    cluster.put("configmaps", theirs)
    cluster.put("schemamigrations", resource(config="/app/alembic.ini"))

    assert await migrations.reconcile(KEY) == 0.0
    assert await migrations.reconcile(KEY) == 15.0
    assert (cluster.objects["configmaps", "shop-script"], cluster.all("jobs")) == (theirs, [])
    assert ready(cluster)["reason"] == "ConfigMapNotOurs"

    del cluster.objects["configmaps", "shop-script"]
    for _ in range(2):
        await migrations.reconcile(KEY)
    assert (ready(cluster)["reason"], len(cluster.all("jobs"))) == ("Planning", 1)


async def test_a_config_map_that_appears_between_look_and_write_is_left_alone(
    cluster: MemoryApi, migrations: Migrations
) -> None:
    """Creating it takes nothing over, and the next look finds whose it is."""
    cluster.put("schemamigrations", resource(config="/app/alembic.ini"))
    cluster.faults["create configmaps"] = ConflictError(409, "AlreadyExists", "it is there")

    await migrations.reconcile(KEY)
    assert "apply configmaps" not in cluster.calls
    assert cluster.all("jobs") == []
