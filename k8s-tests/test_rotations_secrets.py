"""Who knows what is in the Secrets: their pods and nobody else; and nobody else's changes stay in them.

Goes on with the release of test_rotations.py, and removes it in the end.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

import pytest

from load.looking import seen
from operated.audit import requests_of
from operated.resource import OPERATOR
from rotating import material, stray
from rotating.audit import named_secrets, secrets_of, unused_by_rotations
from rotating.world import VALIDATOR_CACHE, World

pytest_plugins = ["rotating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

HEALED_WITHIN = 10.0


@pytest.fixture
def rotated(world: World) -> World:
    """Key and login have rotated at least once; they have where the tests of test_rotations.py ran."""
    if not world.rotated:
        world.ring.ripe_reserve(VALIDATOR_CACHE)
        world.ring.handled(world.ring.rotate())
        world.login.handled(world.login.rotate())
        world.note_secrets()
        world.rotated = True
    return world


def test_no_key_and_no_password_is_anywhere_but_in_its_secret(rotated: World) -> None:
    places = material.everything(rotated.cluster, rotated.namespace)
    for pod in [*rotated.operator_pods(), *rotated.settled(2)]:
        places[f"/metrics of {pod}"] = rotated.fetched(pod, "/metrics")
    for pod, told in rotated.keys_of_pods().items():
        places[f"/keys of {pod}"] = json.dumps(told)
    assert len(rotated.seeker) > 20
    assert {place: held for place, text in places.items() if (held := rotated.seeker.found_in(text))} == {}
    rotated.say(f"{len(rotated.seeker)} shapes of keys and passwords sought in {len(places)} places: none found")


def test_a_key_that_somebody_copied_elsewhere_would_be_found(rotated: World) -> None:
    """The control of the search: twice encoded, in the middle of something else."""
    held = material.data(rotated.secret(material.RING))["jwks.json"]
    copied = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "copied"},
        "stringData": {"note": "of the ring: " + held.decode()},
    }
    rotated.cluster.kubectl.apply([copied], rotated.namespace)
    places = material.objects(rotated.cluster, rotated.namespace, "secrets")
    rotated.cluster.kubectl.run("delete", "secret", "copied", rotated.scope)
    assert rotated.seeker.found_in(places["secrets/copied"])


@pytest.mark.parametrize("harm", ["edited", "emptied", "deleted"])
def test_what_somebody_does_to_the_keys_by_hand_is_healed_within_seconds(rotated: World, harm: str) -> None:
    secret = rotated.secret(material.RING)
    held = material.data(secret)
    harms: dict[str, dict[str, bytes | None]] = {
        "edited": {"jwks.json": b'{"keys": []}', "signing": b"nobody"},
        "emptied": dict.fromkeys(held),
    }
    begun = monotonic()
    if harm in harms:
        material.write(rotated.cluster, rotated.namespace, material.RING, harms[harm])
        uid = ""
    else:
        rotated.cluster.kubectl.run("delete", "secret", material.RING, rotated.scope)
        uid = secret["metadata"]["uid"]
    material.becomes(rotated.cluster, rotated.namespace, material.RING, held, HEALED_WITHIN, other=uid)
    rotated.say(f"the keys' Secret {harm}: as it was after {monotonic() - begun:.1f} s")
    rotated.ring.become_ready()
    assert "Healed" in (rotated.secret(material.RING)["metadata"]["annotations"]["slipway.dev/cause"])


def test_a_login_that_is_deleted_by_hand_is_there_again(rotated: World) -> None:
    before = rotated.secret(material.LOGIN)["metadata"]["uid"]
    rotated.cluster.kubectl.run("delete", "secret", material.LOGIN, rotated.scope)

    def healed() -> bool:
        found = material.read(rotated.cluster, rotated.namespace, material.LOGIN)
        return found is not None and found["metadata"]["uid"] != before

    seen(healed, HEALED_WITHIN, "another Secret with a login")
    status = rotated.login.become_ready()["status"]
    rotated.note_secrets()
    assert rotated.sessions_of(status["role"]) > 0


def test_an_upgrade_after_a_rotation_changes_nothing(rotated: World, service_image: str) -> None:
    before = state(rotated)
    rotated.upgrade(service_image)
    assert state(rotated) == before
    rotated.ring.become_ready()
    rotated.login.become_ready()


def state(world: World) -> dict[str, Any]:
    """What an upgrade must leave as it is: what the Secrets hold, the wishes, and the pods' templates."""
    found: dict[str, Any] = {name: world.secret(name)["metadata"]["resourceVersion"] for name in SECRETS}
    found |= {each.kind: each.read()["metadata"]["generation"] for each in (world.ring, world.login)}
    deployments = world.cluster.kubectl.json("get", "deployments", world.scope)["items"]
    return found | {each["metadata"]["name"]: each["metadata"]["generation"] for each in deployments}


SECRETS = (material.RING, material.LOGIN)


def test_keys_outlive_a_ring_that_is_deleted_and_the_next_one_goes_on_with_them(
    rotated: World, service_image: str
) -> None:
    before, signing = material.data(rotated.secret(material.RING)), rotated.ring.signing()
    rotated.cluster.kubectl.run("delete", "keyring", rotated.ring.name, rotated.scope)
    assert material.data(rotated.secret(material.RING)) == before
    rotated.upgrade(service_image)
    status = rotated.ring.become_ready()["status"]
    rotated.note_secrets()
    assert status["signing"] == signing
    assert set(key_ids(before)) <= {key["id"] for key in status["keys"]}


def key_ids(held: dict[str, bytes]) -> list[str]:
    return [key["kid"] for key in json.loads(held["jwks.json"])["keys"]]


def test_nothing_was_denied_to_the_operator_and_every_right_of_it_was_used(
    rotated: World,
    own_api_server: None,  # noqa: ARG001 - whose audit log can be read
) -> None:
    """By all the tests above, and those of test_rotations.py."""
    requests = list(requests_of(rotated.cluster, rotated.namespace, OPERATOR))
    assert [request for request in requests if request.status in (401, 403)] == []
    role = rotated.cluster.kubectl.json("get", "role", OPERATOR, rotated.scope)
    assert unused_by_rotations(role, requests) == set()
    asked = {name for request in requests if (name := named_secrets(request)) is not None}
    assert asked - stray.SECRETS == secrets_of(role)
    assert "" not in asked, "it listed all Secrets"


def test_an_uninstall_takes_the_keys_along_where_the_policy_says_so(rotated: World, service_image: str) -> None:
    """And only there: the Secret's owner is what the policy makes it."""
    assert "ownerReferences" not in rotated.secret(material.RING)["metadata"]
    ring = rotated.values(service_image)["keyRing"]
    rotated.upgrade(service_image, keyRing={**ring, "deletionPolicy": "Delete"})
    seen(lambda: "ownerReferences" in rotated.secret(material.RING)["metadata"], 15, "the Secret's owner")
    rotated.cluster.helm.run("uninstall", "slipway", rotated.scope, "--wait", timeout=120)
    seen(lambda: material.read(rotated.cluster, rotated.namespace, material.RING) is None, 60, "the end of the keys")
