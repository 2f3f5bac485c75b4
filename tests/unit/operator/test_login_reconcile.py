"""One look at a DatabaseLogin from end to end, with decisions that the test makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest

from slipway_operator.cluster import ForbiddenError
from slipway_operator.evidence.consumers import Consumers
from slipway_operator.exclusion import Exclusion
from slipway_operator.logins import postgres, reconcile
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import (
    Decision,
    Effect,
    HandOver,
    Observed,
    PrepareRoles,
    SecretSeen,
    Trouble,
    Verdict,
)
from slipway_operator.logins.observe import Look
from slipway_operator.logins.reconcile import BUSY_PAUSE, REFUSED_PAUSE, DatabaseLogins
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.worklist import Key
from unit.operator.login_objects import NAME, NAMESPACE, ROLES, WRITTEN, Cluster, job
from unit.operator.test_login_decide import NOW as CALM
from unit.operator.test_login_decide import REST, database

NOW = 1_795_000_000.0
KEY = Key("DatabaseLogin", NAMESPACE, NAME)
LACKS = Trouble("AdminLacksRights", "Run: GRANT …", lasting=True)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def logins(cluster: Cluster) -> DatabaseLogins:
    http = cast("aiohttp.ClientSession", None)  # no pod is there to be asked
    return DatabaseLogins(cluster, http, NamedSecrets(cluster), Exclusion(), clock=lambda: NOW)


Decide = Callable[[Effect | None], None]


@pytest.fixture
def decides(monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Has every look come to this effect."""

    def to(effect: Effect | None) -> None:
        def decide(observed: Observed, now: float) -> Decision:
            assert now == NOW
            return Decision(observed.memory, Verdict("Ready", "Stable", "It works."), effect, look_again=77.0)

        monkeypatch.setattr(reconcile, "decide", decide)

    return to


def ready(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.objects["databaselogins", NAME]["status"]["conditions"][0]
    return found


async def test_without_an_effect_the_status_is_written_and_the_next_look_is_due_when_decided(
    cluster: Cluster, logins: DatabaseLogins, decides: Decide
) -> None:
    decides(None)
    assert await logins.reconcile(KEY) == 77.0
    assert (ready(cluster)["status"], ready(cluster)["reason"]) == ("True", "Stable")


async def test_after_an_effect_the_next_look_is_at_once(
    cluster: Cluster, logins: DatabaseLogins, decides: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def set_password(*_: object) -> None:
        cluster.calls.append("password")

    monkeypatch.setattr(postgres, "set_password", set_password)
    decides(HandOver("shop_a", "Created", ""))
    assert await logins.reconcile(KEY) == 0.0
    assert cluster.calls.index("apply_status databaselogins") < cluster.calls.index("password")
    assert ("secrets", WRITTEN) in cluster.objects


async def test_what_the_database_refuses_is_told_tried_again_and_over_once_it_works(
    cluster: Cluster, logins: DatabaseLogins, decides: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = True

    async def prepare(*_: object) -> None:
        if refused:
            raise TroubleError(LACKS)

    monkeypatch.setattr(postgres, "prepare", prepare)
    decides(PrepareRoles(ROLES))
    assert await logins.reconcile(KEY) == 0.0
    assert await logins.reconcile(KEY) == REFUSED_PAUSE
    assert (ready(cluster)["reason"], ready(cluster)["message"]) == ("AdminLacksRights", "Run: GRANT …")
    assert cluster.objects["databaselogins", NAME]["status"]["conditions"][1]["type"] == "Stalled"
    refused = False
    assert await logins.reconcile(KEY) == 0.0
    decides(None)
    assert await logins.reconcile(KEY) == 77.0
    assert ready(cluster)["reason"] == "Stable"


def refusing(role: str = "b", until: float = CALM + 10, **how: Any) -> Observed:
    held = replace(cast("SecretSeen", REST.secret), role=role, cause="Healed")
    return replace(REST, secret=held, database=database(logs_in=False), rests_until=until, **how)


def test_a_login_that_was_just_written_and_is_refused_is_told_and_not_written_again_and_again() -> None:
    decision = decide(refusing(), CALM)
    assert (decision.verdict.state, decision.verdict.reason, decision.effect) == ("Stalled", "LoginRefused", None)
    assert (decision.look_again, "login of b" in decision.verdict.message) == (10.0, True)
    assert decide(refusing(), CALM + 10).effect == HandOver("b", "Healed", "")


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": None},
        {"secret": replace(cast("SecretSeen", REST.secret), intact=False)},
        {"secret": replace(cast("SecretSeen", REST.secret), address_ok=False)},
    ],
)
def test_what_somebody_changed_in_the_secret_is_mended_at_once_all_the_same(changed: dict[str, Any]) -> None:
    assert decide(replace(refusing(), **changed), CALM).effect == HandOver("b", "Healed", "")


async def test_a_login_that_stays_refused_is_written_less_and_less_soon_until_one_works(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, works, rests = [NOW], [False], []

    async def seen(*_: object) -> object:
        return Look(
            replace(REST, consumers=Consumers(), database=database(logs_in=works[0])),
            cluster.objects["databaselogins", NAME],
        )

    def decided(observed: Observed, _: float) -> Decision:
        rests.append(max(0.0, observed.rests_until - at[0]))
        return Decision(observed.memory, Verdict("Ready", "Stable", ""), HandOver("b", "Healed", ""))

    async def done(*_: object) -> bool:
        return True

    monkeypatch.setattr(reconcile, "look", seen)
    monkeypatch.setattr(reconcile, "decide", decided)
    monkeypatch.setattr(reconcile.apply, "effect", done)
    http = cast("aiohttp.ClientSession", None)
    found = DatabaseLogins(cluster, http, NamedSecrets(cluster), Exclusion(), clock=lambda: at[0])
    for _ in range(9):
        await found.reconcile(KEY)
    assert rests == [0.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    works[0] = True
    await found.reconcile(KEY)
    works[0] = False
    await found.reconcile(KEY)
    assert rests[-2:] == [0.0, 15.0]


async def test_a_migration_that_began_meanwhile_is_waited_for(
    cluster: Cluster, logins: DatabaseLogins, decides: Decide
) -> None:
    cluster.put("jobs", job())
    decides(PrepareRoles(ROLES))
    assert await logins.reconcile(KEY) == BUSY_PAUSE


async def test_nothing_follows_a_status_that_somebody_else_wrote(
    cluster: Cluster, logins: DatabaseLogins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(observed: Observed, _: float) -> Decision:
        cluster.objects["databaselogins", NAME]["metadata"]["resourceVersion"] = "8"
        return Decision(observed.memory, Verdict("Ready", "Stable", ""), HandOver("shop_a", "Created", ""))

    monkeypatch.setattr(reconcile, "decide", decide)
    assert await logins.reconcile(KEY) == 0.0
    assert ("secrets", WRITTEN) not in cluster.objects


async def test_a_right_of_the_operator_that_lacks_is_in_the_status(cluster: Cluster, logins: DatabaseLogins) -> None:
    cluster.faults["list pods"] = ForbiddenError(403, "Forbidden", "pods is forbidden")
    with pytest.raises(ForbiddenError):
        await logins.reconcile(KEY)
    assert (ready(cluster)["status"], ready(cluster)["reason"]) == ("False", "ClusterRefuses")


async def test_one_that_is_gone_is_forgotten(cluster: Cluster, logins: DatabaseLogins) -> None:
    del cluster.objects["databaselogins", NAME]
    assert await logins.reconcile(KEY) is None
