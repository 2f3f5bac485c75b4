"""What a look at a DatabaseLogin takes in from the cluster."""

from __future__ import annotations

from typing import cast

import aiohttp
import pytest

from slipway_operator.cluster import UnreachableError
from slipway_operator.evidence.asking import Asking
from slipway_operator.logins.address import files
from slipway_operator.logins.model import SecretSeen
from slipway_operator.logins.observe import Look, look, migrating
from unit.operator.login_objects import (
    ADMIN_PASSWORD,
    ADMIN_SECRET,
    HOME,
    NAME,
    NAMESPACE,
    Cluster,
    job,
    login,
    migration,
    secret,
    written,
)

HTTP = cast("aiohttp.ClientSession", None)
"""No pod is there to be asked."""


async def seen(cluster: Cluster) -> Look:
    found = await look(cluster, Asking(cluster, HTTP), NAMESPACE, NAME)
    assert found is not None
    return found


async def the_secret(cluster: Cluster) -> SecretSeen:
    found = (await seen(cluster)).observed.secret
    assert found is not None
    return found


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.put("schemamigrations", migration())
    found.put("secrets", secret("shop-owner", files(HOME._replace(host="127.0.0.1"), "owner", "word")))
    return found


@pytest.mark.parametrize("purpose", ["expand", "contract", "withdraw", "announce"])
async def test_a_job_that_writes_to_the_same_database_is_named(cluster: Cluster, purpose: str) -> None:
    cluster.put("jobs", job(purpose))
    assert await migrating(cluster, NAMESPACE, HOME) == f"shop-{purpose}"
    assert (await seen(cluster)).observed.migrating == f"shop-{purpose}"


@pytest.mark.parametrize("other", [job("plan"), job("backup"), job(Complete="True"), job(Failed="True")])
async def test_a_job_that_only_reads_or_has_ended_holds_nothing_up(cluster: Cluster, other: dict[str, object]) -> None:
    cluster.put("jobs", other)
    assert not await migrating(cluster, NAMESPACE, HOME)


async def test_a_job_that_has_not_ended_yet_runs(cluster: Cluster) -> None:
    cluster.put("jobs", job(Failed="False", Suspended="True"))
    assert await migrating(cluster, NAMESPACE, HOME)


async def test_a_job_of_another_database_holds_nothing_up(cluster: Cluster) -> None:
    cluster.put("jobs", job())
    cluster.put("secrets", secret("shop-owner", files(HOME._replace(database="other"), "owner", "word")))
    assert not await migrating(cluster, NAMESPACE, HOME)


async def test_a_database_that_cant_be_told_is_taken_for_the_same(cluster: Cluster) -> None:
    cluster.put("jobs", job())
    cluster.put("secrets", secret("shop-owner", {"unlike": b"a login"}))
    assert await migrating(cluster, NAMESPACE, HOME)
    cluster.hidden.add("shop-owner")
    assert await migrating(cluster, NAMESPACE, HOME)
    del cluster.objects["secrets", "shop-owner"], cluster.objects["schemamigrations", "shop"]
    cluster.hidden.clear()
    assert await migrating(cluster, NAMESPACE, HOME)
    cluster.put("jobs", job(owner=""))
    assert await migrating(cluster, NAMESPACE, HOME)


async def test_jobs_that_cant_be_listed_are_never_taken_for_none(cluster: Cluster) -> None:
    cluster.faults["list jobs"] = UnreachableError(0, "Unreachable", "away")
    with pytest.raises(UnreachableError):
        await seen(cluster)


async def test_a_login_that_is_gone_or_going_is_not_looked_at(cluster: Cluster) -> None:
    cluster.objects["databaselogins", NAME]["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
    assert await look(cluster, Asking(cluster, HTTP), NAMESPACE, NAME) is None
    del cluster.objects["databaselogins", NAME]
    assert await look(cluster, Asking(cluster, HTTP), NAMESPACE, NAME) is None


async def test_an_admins_secret_that_lacks_or_is_none_or_is_hidden_is_told(cluster: Cluster) -> None:
    cluster.put("secrets", secret(ADMIN_SECRET, {"uri": b"postgresql://admin:admins-own-word@"}))
    trouble = (await seen(cluster)).observed.trouble
    assert trouble is not None
    assert trouble.reason == "AdminSecretUnusable"
    assert ADMIN_PASSWORD not in trouble.message
    cluster.hidden.add(ADMIN_SECRET)
    trouble = (await seen(cluster)).observed.trouble
    assert trouble is not None
    assert (trouble.reason, trouble.lasting) == ("AdminSecretForbidden", True)
    cluster.hidden.clear()
    del cluster.objects["secrets", ADMIN_SECRET]
    trouble = (await seen(cluster)).observed.trouble
    assert trouble is not None
    assert (trouble.reason, trouble.lasting) == ("AdminSecretMissing", False)


async def test_a_database_that_is_away_leaves_the_rest_of_the_look_whole(cluster: Cluster) -> None:
    cluster.put("secrets", written())
    observed = (await seen(cluster)).observed
    assert observed.database is None
    assert observed.trouble is not None
    assert observed.trouble.reason == "DatabaseUnreachable"
    assert observed.secret == SecretSeen("shop_a", True, False, True, True, "Nonce", "n")


@pytest.mark.parametrize(("own", "name"), [("operators", f"postgres.{NAMESPACE}.svc"), (NAMESPACE, ""), ("", "")])
async def test_an_operator_elsewhere_looks_for_the_database_where_the_login_is(
    cluster: Cluster, own: str, name: str
) -> None:
    cluster.put("secrets", secret(ADMIN_SECRET, files(HOME._replace(host="postgres"), "admin", "x")))
    cluster.namespace = own

    found = await seen(cluster)

    assert found.admin is not None
    assert (found.admin.reached_at, found.admin.address.host) == (name, "postgres")


async def test_the_secrets_marks_tell_whose_it_is_and_whether_its_own_keys_changed(cluster: Cluster) -> None:
    cluster.put("secrets", written(address=HOME._replace(host="elsewhere")))
    assert not (await the_secret(cluster)).address_ok
    mine = written()
    mine["data"]["of-another-manager"] = "eA=="
    cluster.put("secrets", mine)
    assert (await the_secret(cluster)).intact
    mine["data"]["password"] = "eA=="
    assert not (await the_secret(cluster)).intact
    cluster.put("secrets", secret("shop-login", {}))
    foreign = await the_secret(cluster)
    assert (foreign.ours, foreign.offered, foreign.address_ok) == (False, False, False)


async def test_a_spec_that_cant_be_followed_is_told_and_nothing_else_is_read(cluster: Cluster) -> None:
    broken = login()
    broken["spec"]["consumers"]["selector"] = {}
    cluster.put("databaselogins", broken)
    assert "selector" in str((await seen(cluster)).observed.spec_fault)
    assert "get secrets" not in cluster.calls


async def test_a_look_shows_no_password(cluster: Cluster) -> None:
    cluster.put("secrets", written(word="pods-own-word"))
    found = await seen(cluster)
    assert found.admin is not None
    assert found.admin.password == ADMIN_PASSWORD
    assert ADMIN_PASSWORD not in repr(found)
    assert "pods-own-word" not in repr(found)
