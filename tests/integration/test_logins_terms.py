"""Of two operators at one pair of roles, the one that came later has the word; on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, cast

import aiohttp
import asyncpg
import pytest

from servers.login_server import ADMIN, PAIR, SERVICE, A, B, World
from servers.postgres import PASSWORD
from slipway_operator.cluster import NotServedError
from slipway_operator.evidence.asking import Asking
from slipway_operator.exclusion import Exclusion
from slipway_operator.guard import Guard
from slipway_operator.logins import apply, postgres, scram
from slipway_operator.logins.address import files
from slipway_operator.logins.connecting import TroubleError, logs_in
from slipway_operator.logins.model import Scramble
from slipway_operator.logins.observe import look as observe
from slipway_operator.logins.postgres import fence, look, prepare, set_password
from slipway_operator.logins.reconcile import DatabaseLogins
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.worklist import Key
from unit.operator.login_objects import ADMIN_SECRET, NAME, NAMESPACE, Cluster, secret

pytest_plugins = ["servers.login_fixtures"]

FORMER = f"Made by slipway-operator for the DatabaseLogin {PAIR.owner}."
"""As the releases mark roles that know no terms; any other comment but another login's, of a member, they mend."""
KEY = Key("DatabaseLogin", NAMESPACE, NAME)
LATER = replace(PAIR, term=8)


class Term(Guard):
    """As what holds Leases says. `outnumbered`: whose terms it was told of."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.outnumbered: list[int] = []
        self.held = True

    def left(self, namespace: str) -> float:
        if not self.held:
            raise NotServedError(namespace)
        return 10.0

    def term(self, namespace: str) -> int:
        del namespace
        return self.number

    def outnumber(self, namespace: str, term: int) -> None:
        del namespace
        self.outnumbered.append(term)


@pytest.fixture
def cluster(world: World) -> Cluster:
    found = Cluster()
    found.put("secrets", secret(ADMIN_SECRET, files(world.admin.address, ADMIN, PASSWORD)))
    return found


async def comment(world: World, role: str) -> str:
    return str(await world.value("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1", role))


async def refused(change: Any) -> str:
    with pytest.raises(TroubleError) as raised:
        await change
    return raised.value.trouble.reason


def logins(cluster: Cluster) -> DatabaseLogins:
    return DatabaseLogins(cluster, cast("aiohttp.ClientSession", None), NamedSecrets(cluster), Exclusion())


async def settled(cluster: Cluster) -> DatabaseLogins:
    found = logins(cluster)
    for _ in range(12):
        if await found.reconcile(KEY) != 0.0:
            return found
    raise AssertionError(str(cluster.objects["databaselogins", NAME]["status"]))


async def test_once_a_later_operator_has_been_there_an_earlier_one_changes_nothing(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    await fence(world.admin, LATER)
    assert await refused(set_password(world.admin, PAIR, A, scram.unknown())) == "NewerOperator"
    assert await refused(prepare(world.admin, replace(PAIR, connection_limit=1), (A,))) == "NewerOperator"
    assert await logs_in(world.login(A, password)) is True
    assert [(role.fit, role.term) for role in (await look(world.admin, PAIR)).roles] == [(True, 8), (True, 8)]


async def test_a_change_says_who_made_it_on_both_roles_and_again_is_no_change(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    await set_password(world.admin, LATER, A, scram.unknown())
    for role in (A, B):
        assert await comment(world, role) == f"slipway-operator: for the DatabaseLogin {PAIR.owner}, term 8."
    await set_password(world.admin, LATER, A, scram.unknown())


async def test_roles_that_the_release_before_marked_are_ours_and_are_marked_anew(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    await world.sql(*(f"COMMENT ON ROLE {role} IS '{FORMER}'" for role in (A, B)))
    assert [(role.fit, role.term) for role in (await look(world.admin, LATER)).roles] == [(True, 0), (True, 0)]
    await fence(world.admin, LATER)
    assert [role.term for role in (await look(world.admin, LATER)).roles] == [8, 8]
    assert await logs_in(world.login(A, password)) is True


async def test_the_release_before_takes_a_marked_role_for_one_to_mend_and_for_no_other_login_s(world: World) -> None:
    await prepare(world.admin, LATER, PAIR.roles)
    for role in (A, B):
        assert not (await comment(world, role)).startswith("Made by slipway-operator for the DatabaseLogin ")
        assert await world.value("SELECT pg_has_role($1, $2, 'MEMBER')", role, SERVICE)


async def test_of_two_changes_at_once_one_waits_for_the_other(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    connection = await asyncpg.connect(world.server.url(), timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"slipway-operator {A} {B}"
            )
            assert await refused(set_password(world.admin, LATER, A, scram.unknown())) == "DatabaseUnreachable"
    finally:
        await connection.close()
    assert [role.term for role in (await look(world.admin, PAIR)).roles] == [0, 0]


async def test_a_change_is_broken_off_when_the_lease_may_end_and_undone(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    connection = await asyncpg.connect(world.server.url(), timeout=10)
    began = asyncio.get_running_loop().time()
    try:
        async with connection.transaction():
            await connection.execute(f"COMMENT ON ROLE {A} IS '{PAIR.mark}'")  # its row is locked, to the end
            await connection.execute(f"ALTER ROLE {A} CONNECTION LIMIT 5")
            short = replace(LATER, left=lambda: 0.3)
            assert await refused(set_password(world.admin, short, A, scram.unknown())) == "DatabaseUnreachable"
    finally:
        await connection.close()
    assert asyncio.get_running_loop().time() - began < 3
    assert await logs_in(world.login(A, password)) is True


async def test_the_server_gives_up_each_statement_of_a_change_when_the_lease_may_end(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    for left, limit in ((2.5, "2500ms"), (60.0, "8s")):
        async with postgres._changing(world.admin, replace(LATER, left=partial(float, left))) as connection:  # noqa: SLF001
            assert await connection.fetchval("SHOW statement_timeout") == limit


async def test_without_the_lease_no_change_is_sent_though_one_was_decided_upon(world: World, cluster: Cluster) -> None:
    await settled(cluster)
    seen = await observe(cluster, Asking(cluster, cast("aiohttp.ClientSession", None)), NAMESPACE, NAME)
    assert seen is not None
    cluster.guard = guard = Term(0)
    guard.held = False
    before = world.logged().count("PASSWORD")
    with pytest.raises(NotServedError):
        await apply.effect(cluster, Exclusion(), seen, Scramble(B))
    assert world.logged().count("PASSWORD") == before


async def test_who_takes_over_shuts_the_one_before_out_before_it_relies_on_what_it_sees(
    world: World, cluster: Cluster
) -> None:
    await settled(cluster)
    before = cluster.objects["databaselogins", NAME]["metadata"]["resourceVersion"]
    cluster.guard = Term(3)
    heir = logins(cluster)
    assert await heir.reconcile(KEY) == 1.0
    # It said nothing yet: people needn't hear of it.
    assert cluster.objects["databaselogins", NAME]["metadata"]["resourceVersion"] == before
    assert await refused(set_password(world.admin, PAIR, B, scram.unknown())) == "NewerOperator"
    assert await heir.reconcile(KEY) != 1.0


async def test_a_term_that_is_behind_because_the_lease_was_deleted_goes_ahead(world: World, cluster: Cluster) -> None:
    await settled(cluster)
    await fence(world.admin, LATER)
    cluster.guard = guard = Term(0)
    one = logins(cluster)
    assert await one.reconcile(KEY) == 1.0
    assert guard.outnumbered == [8]
    guard.number = 9
    assert await one.reconcile(KEY) == 1.0
    assert await one.reconcile(KEY) != 1.0


async def test_an_operator_that_goes_by_another_lease_is_told_and_not_outdone(world: World, cluster: Cluster) -> None:
    cluster.guard = guard = Term(3)
    one = await settled(cluster)
    await one.reconcile(KEY)
    await fence(world.admin, LATER)
    assert await one.reconcile(KEY) not in (0.0, 1.0)
    conditions = cluster.objects["databaselogins", NAME]["status"]["conditions"]
    assert {"OperatorElsewhere"} == {each["reason"] for each in conditions if each["type"] in ("Ready", "Stalled")}
    assert guard.outnumbered == []
    assert {await comment(world, role) for role in (A, B)} == {LATER.mark}
    await world.sql(*(f"COMMENT ON ROLE {role} IS NULL" for role in (A, B)))
    for _ in range(4):
        await one.reconcile(KEY)
    assert [role.term for role in (await look(world.admin, PAIR)).roles] == [3, 3]


async def test_a_term_that_grows_while_its_lease_is_held_shuts_out_nobody_else(world: World, cluster: Cluster) -> None:
    cluster.guard = guard = Term(3)
    one = await settled(cluster)
    await one.reconcile(KEY)
    guard.number = 4
    assert await one.reconcile(KEY) == 1.0
    assert await one.reconcile(KEY) != 1.0
    assert [role.term for role in (await look(world.admin, PAIR)).roles] == [4, 4]


async def test_on_a_server_that_nobody_has_accepted_no_comment_is_changed_either(
    world: World, cluster: Cluster
) -> None:
    await settled(cluster)
    cluster.objects["databaselogins", NAME]["status"]["server"] = "another"
    cluster.guard = Term(3)
    await logins(cluster).reconcile(KEY)
    assert cluster.objects["databaselogins", NAME]["status"]["conditions"][0]["reason"] == "ServerChanged"
    assert [role.term for role in (await look(world.admin, PAIR)).roles] == [0, 0]


async def test_a_term_that_no_lease_can_outnumber_is_told_and_outnumbered_by_none(
    world: World, cluster: Cluster
) -> None:
    await settled(cluster)
    mark = f"slipway-operator: for the DatabaseLogin {PAIR.owner}, term 99999999999."
    await world.sql(f"COMMENT ON ROLE {A} IS '{mark}'")
    cluster.guard = guard = Term(3)
    assert await refused(look(world.admin, PAIR)) == "RoleNotOurs"
    await logins(cluster).reconcile(KEY)
    assert guard.outnumbered == []
    await world.sql(f"COMMENT ON ROLE {A} IS NULL")
    one = logins(cluster)
    assert await one.reconcile(KEY) == 1.0
    assert await one.reconcile(KEY) == 0.0
    assert (await comment(world, A)).endswith("term 3.")


async def test_a_term_of_more_digits_than_a_number_has_is_no_mark_of_ours(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    mark = f"slipway-operator: for the DatabaseLogin {PAIR.owner}, term {'9' * 5000}."
    await world.sql(f"COMMENT ON ROLE {A} IS '{mark}'")
    assert [(role.fit, role.term) for role in (await look(world.admin, PAIR)).roles] == [(False, None), (True, 0)]


async def test_what_keeps_it_from_shutting_the_one_before_out_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await settled(cluster)
    cluster.guard = Term(3)

    async def refuse(*_: object) -> None:
        raise TroubleError(postgres.Trouble("AdminLacksRights", "may not comment", lasting=True))

    monkeypatch.setattr(postgres, "fence", refuse)
    assert await one.reconcile(KEY) not in (0.0, 1.0)
    conditions = cluster.objects["databaselogins", NAME]["status"]["conditions"]
    assert {"AdminLacksRights"} == {each["reason"] for each in conditions if each["type"] in ("Ready", "Stalled")}
