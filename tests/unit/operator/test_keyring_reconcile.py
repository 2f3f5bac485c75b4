"""Looks and writes of a key ring in their order; pods are asked for real, over HTTP on this machine."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
from aiohttp import web

from servers.clock import Clock
from slipway.auth.keys import KeySet
from slipway_operator.cluster import ForbiddenError, UnreachableError
from slipway_operator.evidence.asking import open_http
from slipway_operator.keyrings.material import files, understand
from slipway_operator.keyrings.reconcile import KeyRings
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.secret_objects import manifest
from slipway_operator.worklist import Key
from unit.operator.keyring_objects import NAME, NAMESPACE, SECRET, Cluster, key_set, ring, written

NOW = 1_795_000_000.0
KEY = Key("KeyRing", NAMESPACE, NAME)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """One pod, which loads the Secret the moment it is written."""
    api = Cluster()

    async def told(request: web.Request) -> web.Response:
        del request
        held = understand(api.data()) if ("secrets", SECRET) in api.objects else understand({})
        return web.json_response({"keys": list(held.keys), "signing": held.signing, "token_lifetime": 900})

    app = web.Application()
    app.router.add_get("/keys", told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    consumers = {"selector": {"matchLabels": {"app": "shop"}}, "port": runner.addresses[0][1]}
    api.put("keyrings", ring(consumers=consumers))
    metadata = {
        "name": "shop-1",
        "uid": "u-p",
        "labels": {"app": "shop"},
        "creationTimestamp": "2026-11-01T00:00:00Z",
    }
    container = {"name": "main", "started": True, "state": {"running": {}}}
    holds = {"volumes": [{"name": "keys", "projected": {"sources": [{"secret": {"name": SECRET}}]}}]}
    status = {"podIP": "127.0.0.1", "containerStatuses": [container]}
    api.put("pods", {"metadata": metadata, "spec": holds, "status": status})
    yield api
    await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def rings(cluster: Cluster, clock: Clock) -> AsyncIterator[KeyRings]:
    async with open_http() as http:
        yield KeyRings(cluster, http, NamedSecrets(cluster), clock)


def condition(cluster: Cluster, kind: str = "Ready") -> dict[str, Any]:
    return next((each for each in cluster.ring["status"]["conditions"] if each["type"] == kind), {})


async def settle(rings: KeyRings) -> float | None:
    """Looks until one wants nothing at once; the pod follows each write."""
    for _ in range(10):
        again = await rings.reconcile(KEY)
        if again != 0.0:
            return again
    raise AssertionError("it never settles")


async def test_the_first_look_makes_a_set_that_the_service_signs_with(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)

    held = KeySet.from_files(cluster.data())
    assert len(held.keys) == 2
    assert held.signing.id == cluster.ring["status"]["signing"]
    assert "ownerReferences" not in cluster.secret["metadata"]
    assert "create secrets" in cluster.calls


async def test_the_policy_delete_makes_the_ring_its_owner_and_retain_undoes_it(
    rings: KeyRings, cluster: Cluster
) -> None:
    cluster.ring["spec"]["deletionPolicy"] = "Delete"
    await settle(rings)
    assert [each["uid"] for each in cluster.secret["metadata"]["ownerReferences"]] == ["u-1"]
    before = cluster.data()

    cluster.ring["spec"]["deletionPolicy"] = "Retain"
    await settle(rings)
    assert "ownerReferences" not in cluster.secret["metadata"]
    assert cluster.data() == before


async def test_a_second_look_writes_nothing(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)
    before = cluster.data()
    cluster.calls.clear()

    await settle(rings)

    assert cluster.data() == before
    assert not {"create secrets", "apply secrets"} & set(cluster.calls)


async def test_a_file_that_somebody_adds_to_the_secret_is_in_nobody_s_way(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)
    cluster.objects["secrets", SECRET]["data"]["note"] = "aGVsbG8="
    cluster.calls.clear()
    await rings.reconcile(KEY)
    assert "apply secrets" not in cluster.calls
    assert condition(cluster)["reason"] == "Stable"


@pytest.mark.parametrize("emptied", [True, False], ids=["emptied", "deleted"])
async def test_a_secret_that_goes_while_the_operator_is_up_comes_back_byte_for_byte(
    rings: KeyRings, cluster: Cluster, *, emptied: bool
) -> None:
    await settle(rings)
    before = cluster.data()
    if emptied:
        cluster.edit({})
    else:
        del cluster.objects["secrets", SECRET]

    await settle(rings)

    assert cluster.data() == before


@pytest.mark.parametrize("answer", ["heard", "lost"])
async def test_a_key_that_was_just_written_is_kept_although_a_hand_lets_it_sign_before_the_next_look(
    rings: KeyRings, cluster: Cluster, answer: str
) -> None:
    await settle(rings)
    before = set(understand(cluster.data()).keys)
    cluster.ring["spec"]["revoke"] = [
        next(key["id"] for key in cluster.ring["status"]["keys"] if key["state"] == "Published")
    ]
    cluster.answers_lost = answer == "lost"
    with pytest.raises(UnreachableError) if cluster.answers_lost else nullcontext():
        await rings.reconcile(KEY)
    cluster.answers_lost = False
    (made,) = set(understand(cluster.data()).keys) - before

    cluster.edit({**cluster.data(), "signing": made.encode()})
    await settle(rings)
    assert made in understand(cluster.data()).keys


async def test_a_backup_that_lacks_a_key_is_completed_also_after_looks_that_only_told_so(
    rings: KeyRings, cluster: Cluster
) -> None:
    await settle(rings)
    whole = copy.deepcopy(cluster.secret)
    held, signing = understand(cluster.data()), cluster.ring["status"]["signing"]
    cluster.ring["spec"]["suspend"] = True
    left = {name: key for name, key in held.keys.items() if name != signing}
    backup = manifest(
        cluster.ring, SECRET, files(left.values(), next(iter(left))), type_="Opaque", cause="Created", nonce="",
        owned=False, version=None,
    )  # fmt: skip
    cluster.secret["data"], cluster.secret["metadata"]["annotations"] = (
        backup["data"],
        backup["metadata"]["annotations"],
    )
    await settle(rings)

    cluster.ring["spec"]["suspend"] = False
    await settle(rings)
    assert cluster.secret["data"] == whole["data"]


async def test_a_stranger_s_key_under_a_known_id_is_not_taken_for_the_ring_s_own(
    rings: KeyRings, cluster: Cluster
) -> None:
    await settle(rings)
    before = cluster.data()
    other = json.loads(key_set(1)[0]["jwks.json"])["keys"][0]
    edited = json.loads(before["jwks.json"])
    edited["keys"] = [{**other, "kid": key["kid"]} for key in edited["keys"]]
    cluster.edit({**before, "jwks.json": json.dumps(edited).encode()})

    await settle(rings)

    assert cluster.data() == before


async def test_keys_lost_while_the_operator_was_down_stall_it_by_their_ids_and_no_new_key_is_made(
    rings: KeyRings, cluster: Cluster
) -> None:
    await settle(rings)
    signing = cluster.ring["status"]["signing"]
    del cluster.objects["secrets", SECRET]

    async with open_http() as http:
        await settle(KeyRings(cluster, http, NamedSecrets(cluster), lambda: NOW + 60))

    assert condition(cluster, "Stalled")["reason"] == "KeysLost"
    assert signing in condition(cluster, "Stalled")["message"]
    assert ("secrets", SECRET) not in cluster.objects


async def test_a_stranger_s_secret_is_left_alone_until_its_label_offers_it(rings: KeyRings, cluster: Cluster) -> None:
    data, ids = key_set()
    stranger = written(data)
    stranger["metadata"]["labels"] = {}
    cluster.put("secrets", stranger)
    await settle(rings)
    assert condition(cluster, "Stalled")["reason"] == "SecretNotOurs"
    assert cluster.data() == data

    cluster.secret["metadata"]["labels"] = {"slipway.dev/take-over": NAME}
    await settle(rings)
    held = KeySet.from_files(cluster.data())
    assert held.signing.id == ids[0]
    assert set(ids) < set(held.keys)


async def test_a_secret_that_a_stranger_makes_in_between_is_never_overwritten(
    rings: KeyRings, cluster: Cluster
) -> None:
    data, _ = key_set()
    create = cluster.create

    async def beaten(resource: Any, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        if resource.plural == "secrets":
            stranger = written(data)
            stranger["metadata"]["labels"] = {}
            cluster.put("secrets", stranger)
        return await create(resource, namespace, body)

    cluster.create = beaten  # type: ignore[method-assign]
    await settle(rings)

    assert cluster.data() == data
    assert condition(cluster, "Stalled")["reason"] == "SecretNotOurs"


async def test_a_revoked_key_leaves_the_secret_at_once_and_another_signs(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)
    revoked = cluster.ring["status"]["signing"]
    cluster.ring["spec"]["revoke"] = [revoked]

    await settle(rings)

    held = KeySet.from_files(cluster.data())
    assert revoked not in held.keys
    assert held.signing.id != revoked
    assert "shop-1" in cluster.nudged


async def test_a_status_that_somebody_else_wrote_meanwhile_lets_no_write_of_the_secret_follow(
    rings: KeyRings, cluster: Cluster
) -> None:
    status = cluster.apply_status

    async def overtaken(resource: Any, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        cluster.ring["metadata"]["resourceVersion"] = "99"
        return await status(resource, namespace, body)

    cluster.apply_status = overtaken  # type: ignore[method-assign]
    assert await rings.reconcile(KEY) == 0.0
    assert ("secrets", SECRET) not in cluster.objects


async def test_a_refused_read_of_the_secret_is_told_and_never_taken_for_absence(
    rings: KeyRings, cluster: Cluster
) -> None:
    cluster.faults["get secrets"] = ForbiddenError(403, "Forbidden", "may not")
    with pytest.raises(ForbiddenError):
        await rings.reconcile(KEY)
    assert condition(cluster)["reason"] == "ClusterRefuses"
    assert ("secrets", SECRET) not in cluster.objects


async def test_a_server_that_is_away_changes_nothing(rings: KeyRings, cluster: Cluster) -> None:
    cluster.faults["get secrets"] = UnreachableError(0, "Unreachable", "away")
    with pytest.raises(UnreachableError):
        await rings.reconcile(KEY)
    assert "status" not in cluster.ring


async def test_a_ring_that_is_gone_is_forgotten_with_its_keys(rings: KeyRings, cluster: Cluster) -> None:
    await settle(rings)
    body = cluster.objects.pop(("keyrings", NAME))
    assert await rings.reconcile(KEY) is None

    cluster.put("keyrings", body)
    del cluster.objects["secrets", SECRET]
    await settle(rings)
    assert condition(cluster, "Stalled")["reason"] == "KeysLost"


async def test_no_status_event_or_log_line_holds_a_private_part(
    rings: KeyRings, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await settle(rings)
    secret = [key["d"] for key in json.loads(cluster.data()["jwks.json"])["keys"]]
    cluster.ring["spec"]["revoke"] = [cluster.ring["status"]["signing"]]
    await settle(rings)

    told = json.dumps([body for (kind, _), body in cluster.objects.items() if kind != "secrets"]) + caplog.text
    assert "holds" in told
    assert not [part for part in secret if part in told]
