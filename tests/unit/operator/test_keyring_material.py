"""What is written is what the service reads; what is read of a Secret is only what is whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jwt import PyJWK

from slipway.auth.keys import KeysError, KeySet
from slipway_operator.keyrings.material import Material, files, generate, thumbprint, understand
from slipway_operator.keyrings.model import Algorithm, HeldKey

ALGORITHMS: list[Algorithm] = ["EdDSA", "ES256", "RS256"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_service_reads_and_signs_with_what_is_written(algorithm: Algorithm) -> None:
    (first, one), (second, two) = generate(algorithm), generate("EdDSA")

    held = KeySet.from_files(files([one, two], first))

    assert (set(held.keys), held.signing.id, held.signing.algorithm) == ({first, second}, first, algorithm)
    assert held.signing.private is not None


def test_the_service_refuses_a_signing_key_that_is_not_there() -> None:
    _, jwk = generate("EdDSA")
    with pytest.raises(KeysError):
        KeySet.from_files(files([jwk], "another"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_generated_key_is_read_back_as_genuine(algorithm: Algorithm) -> None:
    identity, jwk = generate(algorithm)

    found = understand(files([jwk], identity))

    assert (found.held, found.signing) == ((HeldKey(identity, algorithm, genuine=True),), identity)
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == (identity, algorithm, "sig")
    assert "key_ops" not in jwk


def test_the_id_of_a_key_is_the_thumbprint_of_the_standard_s_example() -> None:
    """RFC 8037, A.3."""
    public = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(public, "EdDSA") == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_an_rsa_key_has_2048_bits() -> None:
    identity, jwk = generate("RS256")
    assert KeySet.from_files(files([jwk], identity)).signing.public.key_size == 2048


def test_another_key_under_a_known_id_is_not_genuine() -> None:
    identity, _ = generate("EdDSA")
    _, other = generate("EdDSA")

    found = understand(files([{**other, "kid": identity}], identity))

    assert found.held == (HeldKey(identity, "EdDSA", genuine=False),)


@pytest.mark.parametrize("member", ["d", "x", "kty", "crv", "kid"])
def test_a_key_that_lacks_a_part_is_not_held(member: str) -> None:
    identity, jwk = generate("EdDSA")
    jwk.pop(member)
    found = understand({"jwks.json": json.dumps({"keys": [jwk]}).encode(), "signing": identity.encode()})
    assert replace(found, unfit=()) == Material()
    assert found.unfit == ("number 1" if member == "kid" else identity,)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000])
def test_what_is_no_key_set_holds_nothing(text: bytes) -> None:
    assert understand({"jwks.json": text, "signing": b"one"}) == Material()


def test_what_is_no_key_is_told_by_its_place() -> None:
    document = b'{"keys": [1, null, {"kid": "two\\nlines"}, {"kid": "old"}]}'
    assert understand({"jwks.json": document}).unfit == ("number 1", "number 2", "number 3", "old")


def test_nothing_that_is_printed_shows_a_private_part() -> None:
    identity, jwk = generate("EdDSA")
    found = understand(files([jwk], identity))
    assert identity in repr(found)
    assert jwk["d"] not in repr(found)


def test_a_key_as_it_was_written_is_built_once_and_one_that_changed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    identity, jwk = generate("RS256")
    other, changed = generate("RS256")
    built: list[str] = []

    def counted(found: dict[str, str], algorithm: str) -> PyJWK:
        built.append(found["kid"])
        return PyJWK(found, algorithm)

    monkeypatch.setattr("slipway_operator.keyrings.material.PyJWK", counted)
    first = understand(files([jwk], identity))
    assert understand(files([jwk], identity)) == first
    assert first.keys == {identity: jwk}
    assert built == [identity]
    assert understand(files([{**changed, "kid": identity}], identity)).held == (HeldKey(identity, "RS256", False),)
    assert built == [identity, identity]
    assert other != identity
