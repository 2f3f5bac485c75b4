"""What a look at a KeyRing takes in from the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import aiohttp
import pytest

from slipway_operator.cluster import UnreachableError
from slipway_operator.evidence.asking import Asking
from slipway_operator.keyrings.material import generate
from slipway_operator.keyrings.model import SecretSeen
from slipway_operator.keyrings.observe import Jwk, Look, look
from slipway_operator.keyrings.reconcile import KeyRings
from slipway_operator.named_secrets import NamedSecrets
from slipway_operator.worklist import Key
from unit.operator.keyring_objects import NAME, NAMESPACE, SECRET, Cluster, key_set, ring, written


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.put("keyrings", ring())
    return found


async def seen(cluster: Cluster, kept: Mapping[str, Jwk] | None = None) -> Look:
    http = cast("aiohttp.ClientSession", None)  # no pod is there to be asked
    found = await look(cluster, Asking(cluster, http), NAMESPACE, NAME, kept or {})
    assert found is not None
    return found


async def the_secret(cluster: Cluster) -> SecretSeen:
    found = (await seen(cluster)).observed.secret
    assert found is not None
    return found


async def test_a_ring_that_is_gone_or_going_is_not_looked_at(cluster: Cluster) -> None:
    asking = Asking(cluster, cast("aiohttp.ClientSession", None))
    assert await look(cluster, asking, NAMESPACE, "another", {}) is None
    cluster.ring["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    assert await look(cluster, asking, NAMESPACE, NAME, {}) is None


async def test_without_a_secret_there_is_none_and_nothing_to_write_over(cluster: Cluster) -> None:
    found = await seen(cluster)
    assert (found.observed.secret, found.version, found.type, found.keys, found.whole) == (
        None,
        None,
        "Opaque",
        {},
        True,
    )


async def test_a_secret_of_the_ring_is_seen_whole_with_its_version_and_type(cluster: Cluster) -> None:
    data, ids = key_set()
    cluster.put("secrets", {**written(data, "Nonce"), "type": "example.com/keys"})
    found, held = await seen(cluster), await the_secret(cluster)
    version = cluster.secret["metadata"]["resourceVersion"]
    assert (found.version, found.type, sorted(found.keys)) == (version, "example.com/keys", sorted(ids))
    assert (held.signing, held.ours, held.offered, held.intact, held.cause) == (ids[0], True, False, True, "Nonce")
    assert {one.id for one in held.keys} == set(ids)


async def test_a_cause_that_nobody_knows_is_the_schedule_s(cluster: Cluster) -> None:
    body = written(key_set()[0])
    body["metadata"]["annotations"]["slipway.dev/cause"] = "Whim"
    cluster.put("secrets", body)
    assert (await the_secret(cluster)).cause == "Schedule"


async def test_a_secret_without_a_key_that_signs_is_not_intact_whatever_its_digest(cluster: Cluster) -> None:
    data, _ = key_set()
    cluster.put("secrets", written({**data, "signing": b"another"}))
    held = await the_secret(cluster)
    assert (held.ours, held.intact, held.signing) == (True, False, "")


async def test_of_a_changed_secret_what_was_whole_before_goes_first_and_of_others_what_is_in_it(
    cluster: Cluster,
) -> None:
    data, ids = key_set()
    cluster.put("secrets", written(data))
    _, strange = generate("EdDSA")
    kept = {ids[0]: {**strange, "kid": ids[0]}, "gone": strange}
    whole = await seen(cluster, kept)
    assert (whole.keys[ids[0]]["x"] == strange["x"], whole.keys["gone"]) == (False, strange)
    assert whole.observed.restorable == {ids[0], "gone"}
    cluster.edit({**data, "signing": ids[1].encode()})
    changed = await seen(cluster, kept)
    assert (changed.keys[ids[0]]["x"] == strange["x"], ids[1] in changed.keys) == (True, True)


async def test_a_spec_that_cannot_be_followed_is_told_and_nothing_else_is_read(cluster: Cluster) -> None:
    cluster.put("keyrings", ring(rotateEvery="soon"))
    found = await seen(cluster)
    assert "is no duration" in (found.observed.spec_fault or "")
    assert (found.whole, found.observed.name, found.observed.spec.secret_name) == (False, NAME, SECRET)
    assert cluster.calls == ["get keyrings"]


async def test_pods_are_looked_at_last_and_what_cannot_be_reached_is_never_taken_for_absent(cluster: Cluster) -> None:
    await seen(cluster)
    assert cluster.calls[:3] == ["get keyrings", "get secrets", "list pods"]
    for call in cluster.calls[:3]:
        cluster.faults = {call: UnreachableError(0, "Unreachable", "away")}
        with pytest.raises(UnreachableError):
            await seen(cluster)


async def test_a_look_has_the_secret_that_the_spec_names_watched(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[tuple[Key, str]] = []
    monkeypatch.setattr(NamedSecrets, "follow", lambda _, key, name: followed.append((key, name)))
    key = Key("KeyRing", NAMESPACE, NAME)
    http = cast("aiohttp.ClientSession", None)
    await KeyRings(cluster, http, NamedSecrets(cluster)).reconcile(key)
    assert followed == [(key, SECRET)]
