"""The operator holds what pods would sign with, and nothing else: both readers, over the same Secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from slipway.auth.keys import DEMO_KEYS, MAX_RSA_BITS, MIN_RSA_BITS, KeysError, generate_keys, keys_from_files
from slipway.settings import Settings
from slipway_operator.keyrings.material import (
    MOST_RSA_BITS,
    PUBLISHED_KEYS,
    RSA_BITS,
    Material,
    files,
    generate,
    understand,
)
from slipway_operator.keyrings.model import Algorithm, HeldKey

PRODUCTION = Settings(environment="production")
DEMO = Path(__file__).parents[3] / "chart/files/demo/jwks.json"


@cache
def made(algorithm: Algorithm) -> Mapping[str, Any]:
    return generate(algorithm)[1] | {"kid": "a"}


def rsa(bits: int) -> dict[str, Any]:
    private = generate_private_key(public_exponent=65537, key_size=bits)
    return RSAAlgorithm.to_jwk(private, as_dict=True) | {"kid": "a"}


def without(jwk: Mapping[str, Any], *members: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in members}


def other(algorithm: Algorithm, *members: str) -> dict[str, Any]:
    """A key whose members of these names are another's."""
    stranger = generate(algorithm)[1]
    return {**made(algorithm), **{name: stranger[name] for name in members}}


def document(jwk: object) -> bytes:
    return json.dumps({"keys": [jwk]}).encode()


def noted(note: str) -> bytes:
    """A set whose key has a member of that JSON text."""
    return document({**made("EdDSA"), "note": 0}).replace(b'"note": 0', b'"note": ' + note.encode())


FIT: dict[str, Callable[[], bytes]] = {
    "EdDSA": lambda: document(made("EdDSA")),
    "ES256": lambda: document(made("ES256")),
    "RS256": lambda: document(made("RS256")),
    "without alg": lambda: document(without(made("ES256"), "alg")),
    "without use": lambda: document(without(made("EdDSA"), "use")),
    "RSA without its primes": lambda: document(without(made("RS256"), "p", "q", "dp", "dq", "qi")),
    "RSA of the fewest bits": lambda: document(rsa(2048)),
    "RSA with an empty curve": lambda: document({**made("RS256"), "crv": None}),
    "a modulus with leading zeros": lambda: document(
        {**made("RS256"), "n": base64.urlsafe_b64encode(b"\0" * 600 + decoded(made("RS256")["n"])).decode()}
    ),
    "members of others": lambda: document({**made("EdDSA"), "note": {"deep": [1, None, "é"]}, "x5c": []}),
    "the longest id": lambda: document({**made("EdDSA"), "kid": "a" * 128}),
    "an id of odd characters": lambda: document({**made("EdDSA"), "kid": "._~-"}),
}
UNFIT: dict[str, Callable[[], bytes]] = {
    "RSA of one bit too few": lambda: document(rsa(2047)),
    "RSA of far too few bits": lambda: document(rsa(1024)),
    "another's alg": lambda: document({**made("EdDSA"), "alg": "ES256"}),
    "a stronger alg of its kind": lambda: document({**made("RS256"), "alg": "RS512"}),
    "an alg that is null": lambda: document({**made("EdDSA"), "alg": None}),
    "an alg that is a list": lambda: document({**made("EdDSA"), "alg": ["EdDSA"]}),
    "for encryption": lambda: document({**made("EdDSA"), "use": "enc"}),
    "a use that is null": lambda: document({**made("ES256"), "use": None}),
    "the demo's": DEMO.read_bytes,
    "the demo's under another name": lambda: document({**json.loads(DEMO.read_bytes())["keys"][0], "kid": "a"}),
    "symmetric": lambda: document({"kty": "oct", "kid": "a", "k": "c2VjcmV0" * 6, "alg": "HS256"}),
    "of another curve": lambda: document({**made("ES256"), "crv": "P-384"}),
    "RSA with a curve": lambda: document({**made("RS256"), "crv": "P-256"}),
    "of no kind": lambda: document(without(made("EdDSA"), "kty")),
    "of a kind that is a list": lambda: document({**made("EdDSA"), "kty": ["OKP"]}),
    "an id too long": lambda: document({**made("EdDSA"), "kid": "a" * 129}),
    "an id with a newline": lambda: document({**made("EdDSA"), "kid": "a\n"}),
    "an id that is a number": lambda: document({**made("EdDSA"), "kid": 1}),
    "public only": lambda: document(without(made("EdDSA"), "d")),
    "half a private part": lambda: document({**made("EdDSA"), "d": made("EdDSA")["d"][:10]}),
    "a private part that is a number": lambda: document({**made("EdDSA"), "d": 5}),
    "a modulus that is a number": lambda: document({**made("RS256"), "n": 5}),
    "RSA without its modulus": lambda: document(without(made("RS256"), "n")),
    "RSA without one prime": lambda: document(without(made("RS256"), "q")),
    "two halves of EdDSA": lambda: document(other("EdDSA", "x")),
    "two halves of ES256": lambda: document(other("ES256", "x", "y")),
    "two halves of RS256": lambda: document(other("RS256", "n")),
    "a number that is none": lambda: noted("NaN"),
    "an endless number": lambda: noted("-Infinity"),
    "a number too large": lambda: noted("1e999"),
    "half a surrogate": lambda: noted('"\\ud800"'),
    "a byte order mark": lambda: b"\xef\xbb\xbf" + document(made("EdDSA")),
    "UTF-16": lambda: document(made("EdDSA")).decode().encode("utf-16"),
    "Latin-1": lambda: noted('"é"').decode().encode("latin-1"),
    "half a file": lambda: document(made("EdDSA"))[:-20],
    "too deep": lambda: noted("[" * 5000 + "]" * 5000),
    "no key": lambda: b'{"keys": []}',
    "a bare list": lambda: json.dumps([dict(made("EdDSA"))]).encode(),
}


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def secret(text: bytes) -> dict[str, bytes]:
    """A Secret whose one key, if it can be told, is to sign."""
    try:
        identity = json.loads(text)["keys"][0]["kid"]
    except (ValueError, TypeError, LookupError, RecursionError):
        identity = "a"
    return {"jwks.json": text, "signing": str(identity).encode()}


def signs(data: Mapping[str, bytes]) -> str:
    """The id of the key that a pod in production signs with; empty when it refuses the set."""
    try:
        return keys_from_files(PRODUCTION, data).signing.id
    except KeysError:
        return ""


@pytest.mark.parametrize("name", FIT)
def test_what_pods_sign_with_is_held_and_written_so_that_they_sign_with_it_again(name: str) -> None:
    data = secret(FIT[name]())
    found = understand(data)

    assert found.signing == signs(data) != ""
    assert [key.id for key in found.held] == [found.signing] == list(found.keys)
    written = files(found.keys.values(), found.signing)
    assert signs(written) == found.signing
    assert keys_from_files(PRODUCTION, written).public_jwks() == keys_from_files(PRODUCTION, data).public_jwks()
    again = understand(written)
    assert (again, again.keys) == (found, found.keys)


@pytest.mark.parametrize("name", UNFIT)
def test_what_pods_refuse_to_sign_with_is_not_held(name: str) -> None:
    data = secret(UNFIT[name]())
    found = understand(data)
    assert (signs(data), replace(found, unfit=())) == ("", Material())


def test_the_bounds_and_the_published_keys_are_the_services() -> None:
    assert (RSA_BITS, MOST_RSA_BITS, PUBLISHED_KEYS) == (MIN_RSA_BITS, MAX_RSA_BITS, DEMO_KEYS)


def test_an_rsa_key_that_is_too_long_is_refused_before_it_takes_seconds_to_build() -> None:
    p, q, e = 2**4253 - 1, 2**4423 - 1, 65537  # primes of Mersenne, because finding others takes a minute
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    members = {name: base64.urlsafe_b64encode(one.to_bytes(1100)).decode() for name, one in numbers.items()}
    started = perf_counter()

    assert understand(secret(document({"kty": "RSA", "kid": "a", **members}))) == Material(unfit=("a",))
    assert perf_counter() - started < 2


JUNK = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.just([[]]), st.integers())
SMALL = sorted(name for name in [*FIT, *UNFIT] if not any(word in name for word in ("RS", "modulus", "too deep")))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SMALL), st.dictionaries(st.text(max_size=4), JUNK, max_size=2)), max_size=5))
def test_of_any_mixture_what_is_held_makes_a_set_that_pods_take(parts: list[tuple[str, dict[str, Any]]]) -> None:
    listed = [one for number, (name, junk) in enumerate(parts) for one in renamed(name, number, junk)]
    data = {"jwks.json": json.dumps({"keys": listed}).encode(), "signing": b""}

    held = understand(data)

    for identity in held.keys:
        taken = keys_from_files(PRODUCTION, files(held.keys.values(), identity))
        assert {key.id: key.algorithm for key in taken.keys.values()} == {one.id: one.algorithm for one in held.held}
        assert all(key.private is not None for key in taken.keys.values())


def renamed(name: str, number: int, junk: dict[str, Any]) -> list[Any]:
    """The keys of a case, with ids of their own and members of others."""
    try:
        listed = json.loads({**FIT, **UNFIT}[name]())["keys"]
    except (ValueError, TypeError):
        return [name]
    return [{**junk, **one, "kid": f"{one.get('kid')}{number}"} for one in listed]


def test_a_member_that_only_pods_cannot_parse_is_not_written_beside_its_key() -> None:
    data = secret(noted("1" * 400))
    found = understand(data)

    assert (signs(data), found.signing) == ("", "a")
    assert signs(files(found.keys.values(), "a")) == "a"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_key_that_the_service_made_proves_its_id(tmp_path: Path, algorithm: Algorithm) -> None:
    """So that it can be healed, whatever became of the rest of its Secret."""
    made = generate_keys(tmp_path / "keys", algorithm)
    found = understand({path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()})
    assert found.held == (HeldKey(made.signing.id, algorithm, genuine=True),)
