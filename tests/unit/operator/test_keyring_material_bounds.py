"""How many keys of which size a Secret may hold, and how much of it is remembered."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from slipway_operator.keyrings import material
from slipway_operator.keyrings.material import KEYS_FILE, files, generate, understand


def rsa(bits: int) -> dict[str, Any]:
    """A public number of so many bits, which is no key yet."""
    number = (1 << (bits - 1)) | 1
    encoded = base64.urlsafe_b64encode(number.to_bytes((bits + 7) // 8)).rstrip(b"=").decode()
    return {"kty": "RSA", "kid": str(bits), "n": encoded, "e": "AQAB"}


def test_an_rsa_key_has_2048_to_8192_bits_and_others_are_not_even_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(jwk: dict[str, Any], algorithm: str) -> None:
        built.append(f"{jwk['kid']} {algorithm}")
        raise ValueError

    monkeypatch.setattr(material, "PyJWK", build)
    found = understand(files([rsa(bits) for bits in (2047, 2048, 8192, 8193)], "2048"))
    assert (found.unfit, found.held) == (("2047", "2048", "8192", "8193"), ())
    assert built == ["2048 RS256", "8192 RS256"]


def test_a_hundred_keys_are_held_and_more_are_told_by_their_ids() -> None:
    keys = dict(generate("EdDSA") for _ in range(101))
    found = understand(files(keys.values(), next(iter(keys))))
    assert len(found.held) == 100
    assert found.unfit == (max(keys),)


def test_of_two_keys_of_one_id_the_first_is_held_and_the_other_told_by_its_place() -> None:
    identity, jwk = generate("EdDSA")
    _, other = generate("EdDSA")
    found = understand(files([jwk, {**other, "kid": identity}], identity))
    assert ([one.id for one in found.held], found.unfit) == ([identity], ("number 2",))


@pytest.mark.parametrize(
    ("identity", "fits"),
    [
        ("k" * 128, True),
        ("k" * 129, False),
        ("", False),
        ("k", True),
        ("a~b._-9Z", True),
        ("a b", False),
        ("ä", False),
        (7, False),
    ],
)
def test_an_id_is_of_128_characters_at_most_that_need_no_quoting(identity: Any, *, fits: bool) -> None:
    _, jwk = generate("EdDSA")
    found = understand(files([{**jwk, "kid": identity}], str(identity)))
    assert bool(found.held) == fits
    assert found.unfit == (() if fits else ("number 1",))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"alg": "EdDSA"}, True),
        ({"alg": "ES256"}, False),
        ({"use": "sig"}, True),
        ({"use": "enc"}, False),
        ({"crv": "Ed448"}, False),
        ({"crv": ["Ed25519"]}, False),
        ({"kty": 1}, False),
        ({"note": "of another's"}, True),
    ],
)
def test_a_key_that_says_it_is_for_something_else_is_none(change: dict[str, Any], *, fits: bool) -> None:
    identity, jwk = generate("EdDSA")
    found = understand(files([{**jwk, **change}], identity))
    assert (bool(found.held), found.signing) == (fits, identity if fits else "")
    assert "note" not in dict(found.keys.get(identity, {}))


def test_a_set_that_other_parsers_refuse_holds_none() -> None:
    identity, jwk = generate("EdDSA")
    whole = files([jwk], identity)
    for odd in (b'{"n": NaN, ', b'{"n": Infinity, ', b'{"n": "\\ud800", '):
        assert understand({**whole, KEYS_FILE: odd + whole[KEYS_FILE][1:]}).held == ()
    assert understand({**whole, KEYS_FILE: b'{"n": 1.5, ' + whole[KEYS_FILE][1:]}).held != ()


@pytest.mark.parametrize(("known", "left"), [(9_999, 10_000), (10_000, 1)])
def test_ten_thousand_keys_are_remembered_and_then_all_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, known: int, left: int
) -> None:
    remembered: dict[bytes, Any] = {str(number).encode(): None for number in range(known)}
    monkeypatch.setattr(material, "_AS_WRITTEN", remembered)
    identity, jwk = generate("EdDSA")
    assert understand(files([jwk], identity)).signing == identity
    assert len(remembered) == left
    assert understand(files([{**jwk, "note": "not as written"}], identity)).signing == identity
    assert len(remembered) == left


def test_a_signing_file_may_end_with_a_line_and_names_a_key_that_is_held() -> None:
    identity, jwk = generate("EdDSA")
    whole = files([jwk], identity)
    for text, signing in ((f" {identity}\n", identity), ("another", ""), ("\udcff", ""), ("", "")):
        assert understand({**whole, "signing": text.encode("utf-8", "surrogateescape")}).signing == signing
    assert understand({KEYS_FILE: whole[KEYS_FILE]}).signing == ""
