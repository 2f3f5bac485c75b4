"""What judges rotations finds what it has to find: a blind one would prove anything. No cluster is needed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rotating.by_hand import fresh_key
from rotating.material import Seeker
from rotating.traffic import RotatingOutcome
from rotating.validator import AUDIENCE, Token, Validators

NOW = 100.0


def signed(key: dict[str, Any], lives: float = 60) -> Token:
    private = jwt.PyJWK({**key}).key
    assert isinstance(private, Ed25519PrivateKey)
    claims = {"aud": AUDIENCE, "exp": time.time() + lives}
    return Token.read(jwt.encode(claims, private, "EdDSA", {"kid": key["kid"]}))


def published(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": [{name: value for name, value in key.items() if name != "d"} for key in keys]}


def test_a_token_of_a_published_key_is_accepted_by_all() -> None:
    key, validators = fresh_key(), Validators(cache=3, count=4, now=NOW)
    for party in validators.due(NOW + 3):
        party.learn(published(key), NOW + 3)
    validators.take(signed(key))
    assert (validators.checks, validators.refused) == (4, {})


def test_a_key_that_signs_before_a_cache_has_learned_it_is_refused_and_counts_once() -> None:
    known, early, validators = fresh_key(), fresh_key(), Validators(cache=3, count=4, now=NOW)
    for party in validators.due(NOW + 3):
        party.learn(published(known), NOW + 3)
    validators.take(signed(early))
    assert validators.refused == {early["kid"]: ["unknown key"]}


def test_a_key_that_is_dropped_while_its_token_lives_is_found_out_with_the_next_keys() -> None:
    old, new, validators = fresh_key(), fresh_key(), Validators(cache=3, count=1, now=NOW)
    (party,) = validators.due(NOW)
    party.learn(published(old, new), NOW)
    validators.take(signed(old))
    assert validators.due(NOW + 2.9) == []
    assert validators.due(NOW + 3) == [party]
    party.learn(published(new), NOW + 3)
    validators.learned(party, time.time())
    assert validators.refused == {old["kid"]: ["unknown key"]}


def test_a_token_that_has_expired_is_nobodys_business() -> None:
    old, new, validators = fresh_key(), fresh_key(), Validators(cache=3, count=1, now=NOW)
    (party,) = validators.due(NOW)
    party.learn(published(old), NOW)
    validators.take(signed(old, lives=5))
    party.learn(published(new), NOW + 6)
    validators.learned(party, time.time() + 6)
    assert validators.refused == {}


def test_another_key_under_a_known_id_is_refused() -> None:
    key, validators = fresh_key(), Validators(cache=3, count=1, now=NOW)
    (party,) = validators.due(NOW)
    party.learn(published({**fresh_key(), "kid": key["kid"]}), NOW)
    validators.take(signed(key))
    assert validators.refused == {key["kid"]: ["InvalidSignatureError"]}


def test_what_a_revoked_key_costs_is_counted_apart() -> None:
    report = {
        "failed": 3,
        "unauthorized": {"revoked": 2, "other": 1},
        "validators": {"refused": {"revoked": {"tokens": 5}, "other": {"tokens": 4}}},
    }
    outcome = RotatingOutcome(report, frozenset({"revoked"}))
    assert (outcome.failed, outcome.unauthorized_by_revocation, outcome.tokens_refused_wrongly) == (1, 2, 4)


def secret(**data: bytes) -> dict[str, Any]:
    return {"data": {name.replace("_", "."): base64.b64encode(content).decode() for name, content in data.items()}}


@pytest.mark.parametrize("before", ["", "x", "xy"])
@pytest.mark.parametrize("times", [0, 1])
def test_a_key_is_found_in_whatever_it_is_wrapped(before: str, times: int) -> None:
    key, seeker = fresh_key(), Seeker()
    seeker.note(secret(jwks_json=json.dumps({"keys": [key]}).encode()))
    text = f"{before}{key['d']} and more"
    for _ in range(times):
        text = base64.b64encode(text.encode()).decode()
    assert seeker.found_in(f"some log: {text}")
    assert seeker.found_in(base64.urlsafe_b64decode(key["d"] + "==").hex())


def test_public_facts_of_a_key_are_nothing_to_find() -> None:
    key, seeker = fresh_key(), Seeker()
    seeker.note(secret(jwks_json=json.dumps({"keys": [key]}).encode(), password=b"s3cret-of-twenty-letters"))
    assert seeker.found_in(json.dumps(published(key))) == set()
    assert seeker.found_in("password=s3cret-of-twenty-letters")
