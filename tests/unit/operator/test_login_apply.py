"""Changes in their order: the role's password first, then the Secret; none while a migration writes."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from typing import cast

import aiohttp
import pytest

from slipway_operator.cluster import ConflictError
from slipway_operator.evidence.asking import Asking
from slipway_operator.exclusion import Exclusion
from slipway_operator.logins import postgres, scram
from slipway_operator.logins.address import LoginData, login_of
from slipway_operator.logins.apply import effect
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.model import HandOver, PrepareRoles, Scramble, Trouble
from slipway_operator.logins.observe import Look, look
from slipway_operator.secret_objects import data_of
from unit.operator.login_objects import HOME, NAME, NAMESPACE, ROLES, WRITTEN, Cluster, job, secret, written

OVER = HandOver("shop_b", "Nonce", "n-2")


class Roles:
    """Stands in for PostgreSQL: what was done to which role, in the calls of the cluster's own order."""

    def __init__(self, cluster: Cluster) -> None:
        self.calls = cluster.calls
        self.verifiers: dict[str, str] = {}
        self.trouble: Trouble | None = None

    async def set_password(self, admin: LoginData, pair: postgres.Pair, role: str, verifier: str) -> None:
        assert (admin.user, role in pair.roles) == ("admin", True)
        self.calls.append(f"password {role}")
        if self.trouble is not None:
            raise TroubleError(self.trouble)
        self.verifiers[role] = verifier

    async def prepare(self, admin: LoginData, pair: postgres.Pair, roles: Sequence[str]) -> None:
        assert (admin.user, pair.member_of) == ("admin", "shop")
        self.calls.append(f"prepare {' '.join(roles)}")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def roles(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Roles:
    found = Roles(cluster)
    monkeypatch.setattr(postgres, "set_password", found.set_password)
    monkeypatch.setattr(postgres, "prepare", found.prepare)
    return found


async def seen(cluster: Cluster) -> Look:
    found = await look(cluster, Asking(cluster, cast("aiohttp.ClientSession", None)), NAMESPACE, NAME)
    assert found is not None
    cluster.calls.clear()
    return found


def accepts(verifier: str, password: str) -> bool:
    salt = base64.b64decode(verifier.split("$")[1].partition(":")[2])
    return scram.verifier(password, salt) == verifier


async def test_a_hand_over_sets_the_password_and_then_writes_it(cluster: Cluster, roles: Roles) -> None:
    cluster.put("secrets", written())
    assert await effect(cluster, Exclusion(), await seen(cluster), OVER)
    assert cluster.calls == ["list jobs", "password shop_b", "apply secrets"]
    body = cluster.objects["secrets", WRITTEN]
    login = login_of(data_of(body))
    assert (login.user, login.address) == ("shop_b", HOME)
    assert accepts(roles.verifiers["shop_b"], login.password)
    assert body["metadata"]["resourceVersion"] == "3"
    assert body["metadata"]["annotations"]["slipway.dev/cause"] == "Nonce"
    assert body["metadata"]["annotations"]["slipway.dev/nonce"] == "n-2"


async def test_the_first_login_is_made_by_post_and_ends_with_its_owner(cluster: Cluster, roles: Roles) -> None:
    assert await effect(cluster, Exclusion(), await seen(cluster), OVER)
    assert cluster.calls == ["list jobs", "password shop_b", "create secrets"]
    body = cluster.objects["secrets", WRITTEN]
    assert body["type"] == "servicebinding.io/postgresql"
    assert body["metadata"]["ownerReferences"][0]["name"] == NAME
    assert set(roles.verifiers) == {"shop_b"}


@pytest.mark.usefixtures("roles")
async def test_a_secret_that_is_taken_over_keeps_its_type(cluster: Cluster) -> None:
    cluster.put("secrets", secret(WRITTEN, {}) | {"type": "example.com/login"})
    assert await effect(cluster, Exclusion(), await seen(cluster), OVER)
    assert cluster.objects["secrets", WRITTEN]["type"] == "example.com/login"


@pytest.mark.usefixtures("roles")
async def test_a_secret_that_somebody_wrote_meanwhile_is_looked_at_anew(cluster: Cluster) -> None:
    first = await seen(cluster)
    cluster.put("secrets", written())
    assert not await effect(cluster, Exclusion(), first, OVER)
    cluster.faults["apply secrets"] = ConflictError(409, "Conflict", "another version")
    assert not await effect(cluster, Exclusion(), await seen(cluster), OVER)


async def test_a_password_that_could_not_be_set_is_never_written(cluster: Cluster, roles: Roles) -> None:
    roles.trouble = Trouble("DatabaseUnreachable", "away")
    with pytest.raises(TroubleError):
        await effect(cluster, Exclusion(), await seen(cluster), OVER)
    assert cluster.calls == ["list jobs", "password shop_b"]


async def test_scrambling_and_preparing_leave_the_secret_alone(cluster: Cluster, roles: Roles) -> None:
    cluster.put("secrets", written())
    first = await seen(cluster)
    assert await effect(cluster, Exclusion(), first, Scramble("shop_b"))
    assert await effect(cluster, Exclusion(), first, PrepareRoles(ROLES))
    assert cluster.calls == ["list jobs", "password shop_b", "list jobs", "prepare shop_a shop_b"]
    assert roles.verifiers["shop_b"].startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize("wish", [OVER, Scramble("shop_b"), PrepareRoles(ROLES)])
async def test_a_job_that_began_since_the_look_stops_every_change(
    cluster: Cluster, roles: Roles, wish: HandOver | Scramble | PrepareRoles
) -> None:
    first = await seen(cluster)
    cluster.put("jobs", job())
    assert not await effect(cluster, Exclusion(), first, wish)
    assert cluster.calls == ["list jobs", "get schemamigrations"]
    assert roles.verifiers == {}


@pytest.mark.usefixtures("roles")
async def test_no_password_is_logged(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await effect(cluster, Exclusion(), await seen(cluster), OVER)
    body = cluster.objects["secrets", WRITTEN]
    password = data_of(body)["password"].decode()
    assert "shop_b" in caplog.text
    assert password not in caplog.text
    # What is noted with a Secret is a digest over all of it.
    assert password not in str(body["metadata"])
    assert hashlib.sha256(password.encode()).hexdigest() not in str(body["metadata"])
