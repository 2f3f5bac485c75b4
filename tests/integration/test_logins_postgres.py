"""The operator's changes of login roles on a real PostgreSQL, as an admin that is no superuser."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import cast

import aiohttp
import asyncpg
import pytest

from servers.login_server import ADMIN, COUNT, PAIR, SERVICE, A, B, World
from servers.postgres import PASSWORD
from servers.waiting import until
from slipway_operator.exclusion import Exclusion
from slipway_operator.logins import postgres, scram
from slipway_operator.logins.address import Address, LoginData, files, login_of
from slipway_operator.logins.connecting import TroubleError, logs_in
from slipway_operator.logins.postgres import Pair, look, prepare, set_password
from slipway_operator.logins.reconcile import DatabaseLogins
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.secret_objects import data_of
from slipway_operator.worklist import Key
from unit.operator.login_objects import ADMIN_SECRET, NAME, NAMESPACE, WRITTEN, Cluster, secret

pytest_plugins = ["servers.login_fixtures"]


async def trouble(admin: LoginData, pair: Pair = PAIR) -> tuple[str, bool, str]:
    with pytest.raises(TroubleError) as raised:
        await look(admin, pair)
    found = raised.value.trouble
    return found.reason, found.lasting, found.message


async def test_an_admin_without_superuser_makes_both_roles_that_act_as_the_services(world: World) -> None:
    before = await look(world.admin, PAIR)
    assert [role.exists for role in before.roles] == [False, False]
    await prepare(world.admin, PAIR, PAIR.roles)
    after = await look(world.admin, PAIR)
    assert [(role.name, role.fit, role.unfit) for role in after.roles] == [(A, True, ""), (B, True, "")]
    for role in PAIR.roles:
        async with world.session(role, await world.given(role)) as connection:
            await connection.execute(f"CREATE TABLE {SERVICE}.of_{role} ()")
        owner = await world.value("SELECT tableowner FROM pg_tables WHERE tablename = $1", f"of_{role}")
        assert owner == SERVICE


async def test_the_server_is_told_by_what_its_address_does_not_change(world: World) -> None:
    system = await world.value("SELECT system_identifier::text FROM pg_control_system()")
    assert (await look(world.admin, PAIR)).server == system
    await world.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        hidden = (await look(world.admin, PAIR)).server
    finally:
        await world.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
    assert hidden.startswith("oid-")


async def test_roles_that_are_fit_are_left_alone(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    await prepare(world.admin, PAIR, PAIR.roles)
    assert await logs_in(world.login(A, password)) is True


async def test_a_role_without_a_password_lets_nobody_in(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    assert await logs_in(world.login(A, "")) is False
    assert await logs_in(world.login(A, "guess")) is False


async def test_many_sessions_of_one_role_hide_none_of_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "MOST_SESSIONS", 2)
    await prepare(world.admin, PAIR, (A, B))
    passwords = {role: await world.given(role) for role in (A, B)}
    async with AsyncExitStack() as stack:
        for role in (A, A, A, B):
            await stack.enter_async_context(world.session(role, passwords[role]))
        seen = await look(world.admin, PAIR)
        assert sorted(session.role for session in seen.sessions) == [A, A, B]


async def test_a_new_password_ends_the_former_and_no_session(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    former = await world.given(A)
    async with world.session(A, former, "api-1") as connection:
        later = await world.given(A)
        assert await logs_in(world.login(A, former)) is False
        assert await logs_in(world.login(A, later)) is True
        assert await connection.fetchval("SELECT current_user || ' ' || session_user") == f"{SERVICE} {A}"
        sessions = (await look(world.admin, PAIR)).sessions
        mine = [session for session in sessions if session.application_name == "api-1"]
        assert [(session.role, session.state) for session in mine] == [(A, "idle")]
        assert mine[0].pid == connection.get_server_pid()
        assert mine[0].started is not None


async def test_a_scrambled_password_is_refused(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    assert await logs_in(world.login(A, password)) is True
    await set_password(world.admin, PAIR, A, scram.unknown())
    assert await logs_in(world.login(A, password)) is False


async def test_a_role_holds_no_more_connections_than_allowed(world: World) -> None:
    pair = replace(PAIR, connection_limit=1)
    await prepare(world.admin, PAIR, PAIR.roles)
    assert (await look(world.admin, pair)).roles[0].unfit == "may hold 5 connections"
    await prepare(world.admin, pair, (A,))
    password = await world.given(A)
    async with world.session(A, password):
        with pytest.raises(asyncpg.TooManyConnectionsError):
            async with world.session(A, password):
                pass
        # A full role isn't one with a wrong password.
        assert await logs_in(world.login(A, password)) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (f"ALTER ROLE {A} NOLOGIN", "may not log in"),
        (f"ALTER ROLE {A} NOINHERIT", "doesn't inherit"),
        (f"ALTER ROLE {A} RESET role", f"doesn't act as {SERVICE}"),
        (f"ALTER ROLE {A} VALID UNTIL '2001-01-01'", "its password ends"),
        (f"ALTER ROLE {A} CREATEROLE", "has CREATEROLE"),
        (f"REVOKE {SERVICE} FROM {A} GRANTED BY {ADMIN}", f"is no full member of {SERVICE}"),
        (f"GRANT {SERVICE} TO {A} WITH SET FALSE GRANTED BY {ADMIN}", f"is no full member of {SERVICE}"),
    ],
)
async def test_what_was_changed_by_hand_is_told_and_mended(world: World, damage: str, told: str) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    password = await world.given(A)
    await world.sql(damage)
    assert (await look(world.admin, PAIR)).roles[0].unfit == told
    await prepare(world.admin, PAIR, (A,))
    assert (await look(world.admin, PAIR)).roles[0].fit
    assert await logs_in(world.login(A, password)) is True


async def test_a_role_dropped_by_hand_is_seen_and_made_again(world: World) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    await world.sql(f"DROP OWNED BY {A}", f"DROP ROLE {A}")
    assert [role.exists for role in (await look(world.admin, PAIR)).roles] == [False, True]
    await prepare(world.admin, PAIR, (A,))
    assert (await look(world.admin, PAIR)).roles[0].fit


async def test_a_wrong_password_of_the_admin_is_told_as_such(world: World) -> None:
    reason, lasting, message = await trouble(replace(world.admin, password="wrong-" + PASSWORD))
    assert (reason, lasting) == ("AdminRefused", False)
    assert PASSWORD not in message


async def test_a_database_that_is_away_or_stalled_is_told_within_seconds(world: World) -> None:
    nowhere = replace(world.admin, address=Address("127.0.0.1", 1, "postgres"))
    assert (await trouble(nowhere))[:2] == ("DatabaseUnreachable", False)
    missing = replace(world.admin, address=world.admin.address._replace(database="nowhere"))
    assert (await trouble(missing))[:2] == ("DatabaseUnreachable", False)
    # What ends meanwhile can't be woken again.
    await until(world.rests)
    world.server.pause()
    try:
        async with asyncio.timeout(15):
            assert (await trouble(world.admin))[:2] == ("DatabaseUnreachable", False)
            assert await logs_in(world.admin) is None
    finally:
        world.server.resume()
    assert (await look(world.admin, PAIR)).roles


@pytest.mark.parametrize(
    ("damage", "reason", "cure"),
    [
        (f"ALTER ROLE {ADMIN} NOCREATEROLE", "AdminLacksRights", f'ALTER ROLE "{ADMIN}" CREATEROLE;'),
        (
            f"REVOKE ADMIN OPTION FOR {SERVICE} FROM {ADMIN} CASCADE",
            "AdminLacksRights",
            f'GRANT "{SERVICE}" TO "{ADMIN}" WITH ADMIN OPTION;',
        ),
        (f"REVOKE {A} FROM {ADMIN}", "AdminLacksRights", f'GRANT "{A}" TO "{ADMIN}" WITH ADMIN OPTION;'),
        (f"REVOKE pg_read_all_stats FROM {ADMIN}", "SessionsHidden", f'GRANT pg_read_all_stats TO "{ADMIN}";'),
    ],
)
async def test_a_right_that_lacks_is_told_with_the_statement_that_gives_it(
    world: World, damage: str, reason: str, cure: str
) -> None:
    await prepare(world.admin, PAIR, PAIR.roles)
    await world.sql(damage)
    found, lasting, message = await trouble(world.admin)
    assert (found, lasting) == (reason, True)
    assert message.endswith(f"Run: {cure}")
    await world.sql(cure)
    if "ADMIN OPTION FOR" in damage:
        # What the admin had granted went with its right.
        await prepare(world.admin, PAIR, PAIR.roles)
    assert all(role.fit for role in (await look(world.admin, PAIR)).roles)


@pytest.mark.parametrize(
    "damage",
    [
        f"ALTER ROLE {SERVICE} SUPERUSER",
        f"ALTER ROLE {SERVICE} BYPASSRLS",
        f"GRANT pg_read_all_data TO {SERVICE}",
        f"CREATE ROLE strong CREATEDB ROLE {SERVICE}",
    ],
)
async def test_a_service_role_with_too_many_rights_is_refused_and_no_role_is_made(world: World, damage: str) -> None:
    await world.sql(damage)
    assert (await trouble(world.admin))[:2] == ("MemberOfTooStrong", True)
    with pytest.raises(TroubleError):
        await prepare(world.admin, PAIR, PAIR.roles)
    assert await world.value(COUNT, [A, B]) == 0


async def test_a_service_role_that_owns_its_database_isnt_too_strong(world: World) -> None:
    await world.sql(f"ALTER DATABASE postgres OWNER TO {SERVICE}")
    try:
        assert (await look(world.admin, PAIR)).roles
    finally:
        await world.sql("ALTER DATABASE postgres OWNER TO postgres")


async def test_a_service_role_that_isnt_there_is_told(world: World) -> None:
    assert (await trouble(world.admin, replace(PAIR, member_of="nobody_made")))[:2] == ("MemberOfMissing", False)


async def test_a_role_of_somebody_else_is_left_alone(world: World) -> None:
    await world.sql("CREATE ROLE stranger LOGIN PASSWORD 'theirs'")
    pair = replace(PAIR, roles=("stranger", B))
    assert (await trouble(world.admin, pair))[:2] == ("RoleNotOurs", True)
    with pytest.raises(TroubleError):
        await prepare(world.admin, pair, pair.roles)
    assert await logs_in(world.login("stranger", "theirs")) is True


async def test_not_even_an_admin_who_may_do_all_takes_a_role_of_somebody_else_or_its_own(world: World) -> None:
    await world.sql("CREATE ROLE bystander LOGIN PASSWORD 'theirs'", f"ALTER ROLE {ADMIN} SUPERUSER")
    try:
        for taken in ("bystander", ADMIN):
            pair = replace(PAIR, roles=(taken, B))
            assert (await trouble(world.admin, pair))[:2] == ("RoleNotOurs", True)
            with pytest.raises(TroubleError):
                await prepare(world.admin, pair, pair.roles)
    finally:
        await world.sql(f"ALTER ROLE {ADMIN} NOSUPERUSER", "ALTER ROLE bystander PASSWORD NULL")
    assert await logs_in(world.admin) is True


async def test_roles_of_another_login_on_the_same_server_are_its_own_until_a_person_gives_them_away(
    world: World,
) -> None:
    await prepare(world.admin, PAIR, (A, B))
    other = replace(PAIR, owner="elsewhere/shop")
    reason, lasting, message = await trouble(world.admin, other)
    assert (reason, lasting) == ("RoleNotOurs", True)
    assert f"DatabaseLogin {PAIR.owner}, term 0." in message
    with pytest.raises(TroubleError):
        await prepare(world.admin, other, (A, B))
    await world.sql(f"COMMENT ON ROLE {A} IS NULL", f"COMMENT ON ROLE {B} IS NULL")
    assert [role.unfit for role in (await look(world.admin, other)).roles] == ["isn't marked as ours"] * 2
    await prepare(world.admin, other, (A, B))
    assert all(role.fit for role in (await look(world.admin, other)).roles)
    assert (await trouble(world.admin, PAIR))[0] == "RoleNotOurs"


async def test_names_with_quotes_are_names(world: World) -> None:
    odd = 'shop_"; DROP ROLE shop; --'
    pair = replace(PAIR, roles=(odd, B))
    try:
        await prepare(world.admin, pair, pair.roles)
        password = scram.new_password()
        await set_password(world.admin, PAIR, odd, scram.verifier(password))
        assert await logs_in(world.login(odd, password)) is True
        assert (await look(world.admin, pair)).roles[0].fit
    finally:
        await world.sql(f"DROP OWNED BY {postgres.quoted(odd)}", f"DROP ROLE {postgres.quoted(odd)}")


async def test_no_password_is_in_the_servers_log_nor_in_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await prepare(world.admin, PAIR, PAIR.roles)
    passwords = [await world.given(A), await world.given(B)]
    for role, password in zip(PAIR.roles, passwords, strict=True):
        assert await logs_in(world.login(role, password)) is True
        assert password not in repr(world.login(role, password))
    with pytest.raises(TroubleError) as raised:
        await set_password(world.admin, PAIR, "nobody_made", scram.verifier(passwords[0]))
    assert "SCRAM" not in str(raised.value)
    # The statements are logged, so what isn't found there wasn't sent.
    assert f'ALTER ROLE "{A}" PASSWORD \'SCRAM-SHA-256$4096:' in world.logged()
    told = world.logged() + caplog.text + str(raised.value)
    assert [password for password in passwords if password in told] == []


async def test_a_password_in_plain_sql_would_be_in_the_servers_log(world: World) -> None:
    """The negative control of the search above."""
    await prepare(world.admin, PAIR, PAIR.roles)
    password = scram.new_password()
    await set_password(world.admin, PAIR, A, password)
    assert password in world.logged()


async def settled(cluster: Cluster, logins: DatabaseLogins) -> None:
    """Looks until none is due at once; bounded, because each look does at most one thing."""
    for _ in range(12):
        if await logins.reconcile(Key("DatabaseLogin", NAMESPACE, NAME)) != 0.0:
            return
    raise AssertionError(str(cluster.objects["databaselogins", NAME]["status"]))


async def test_a_login_is_made_rotated_and_healed_from_one_look_to_the_next(world: World) -> None:
    cluster = Cluster()
    cluster.put("secrets", secret(ADMIN_SECRET, files(world.admin.address, ADMIN, PASSWORD)))
    # Whoever uses it wants no pod just now: that is seen, and so proves something.
    volumes = [{"name": "login", "secret": {"secretName": WRITTEN}}]
    idle = {"replicas": 0, "template": {"metadata": {}, "spec": {"containers": [], "volumes": volumes}}}
    cluster.put("deployments", {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": idle})
    logins = DatabaseLogins(cluster, cast("aiohttp.ClientSession", None), NamedSecrets(cluster), Exclusion())

    def written() -> LoginData:
        return login_of(data_of(cluster.objects["secrets", WRITTEN]))

    spec = cluster.objects["databaselogins", NAME]["spec"]
    await settled(cluster, logins)
    first = written()
    assert (first.user, await logs_in(first)) == (A, True)
    spec["rotateNonce"] = "now"
    await settled(cluster, logins)
    second = written()
    assert (second.user, await logs_in(second), await logs_in(first)) == (B, True, False)
    # A role dropped by hand, and with it the password that pods have.
    await world.sql(f"DROP OWNED BY {B}", f"DROP ROLE {B}")
    await settled(cluster, logins)
    third = written()
    assert (third.user, await logs_in(third)) == (A, True)
    status = cluster.objects["databaselogins", NAME]["status"]
    assert [(one["cause"], one.get("result")) for one in status["history"]] == [
        ("Healed", "Confirmed"), ("Nonce", "Confirmed"), ("Created", "Confirmed")
    ]  # fmt: skip
    assert [one for one in (first, second, third) if one.password in str(status) + world.logged()] == []
