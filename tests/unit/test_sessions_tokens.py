"""Access tokens: only what we signed, for us, at this time, with a key still listed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.auth import tokens
from slipway.auth.keys import KeySet, KeyStore, generate_keys
from slipway.auth.tokens import Tokens
from slipway.settings import Settings
from slipway.telemetry.registry import REGISTRY

USER, SESSION = uuid4(), uuid4()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(generate_keys(tmp_path / "keys"))


@pytest.fixture
def ours(store: KeyStore) -> Tokens:
    return Tokens(Settings(), store)


def claims_of(ours: Tokens) -> dict[str, Any]:
    return jwt.decode(ours.issue(USER, SESSION, ["items:read"]), options={"verify_signature": False})


def signed(store: KeyStore, claims: dict[str, Any], **headers: object) -> str:
    key = store.current.signing
    content = json.dumps(claims).encode()
    return jwt.PyJWS().encode(content, key.private, key.algorithm, {"kid": key.id, "typ": "at+jwt"} | headers)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def rejections(reason: str) -> float:
    return REGISTRY.get_sample_value("slipway_token_rejections_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_token_of_ours_says_whose_it_is(tmp_path: Path, algorithm: str) -> None:
    ours = Tokens(Settings(), KeyStore(generate_keys(tmp_path, algorithm)))  # type: ignore[arg-type]
    token = ours.issue(USER, SESSION, ["items:write", "items:read"])
    for _ in range(2):  # verified, then remembered
        found = ours.identify(token)
        assert found is not None
        assert (found.subject, found.user_id, found.session_id) == (str(USER), USER, SESSION)
        assert found.permissions == {"items:read", "items:write"}
        assert 890 < found.expires_at - time() <= 900
    assert jwt.get_unverified_header(token).keys() == {"alg", "kid", "typ"}


def unsigned(store: KeyStore, claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'at+jwt', 'kid': store.current.signing.id})}.{encoded(claims)}."


def hmac_with_public_key(store: KeyStore, claims: dict[str, Any]) -> str:
    """The classic confusion: a symmetric signature whose secret is the public key."""
    signing = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': store.current.signing.id})}.{encoded(claims)}"
    secret = store.current.public_jwks()
    mark = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
    return f"{signing}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def relabelled(store: KeyStore, token: str) -> str:
    return f"{encoded({'alg': 'ES256', 'kid': store.current.signing.id, 'typ': 'at+jwt'})}.{token.split('.', 1)[1]}"


def tampered(token: str) -> str:
    head, body, mark = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{encoded(claims | {'scope': 'admin:write'})}.{mark}"


Make = Callable[[KeyStore, dict[str, Any]], str]

WRONG: dict[str, tuple[str, Make]] = {
    "none": ("wrong_algorithm", unsigned),
    "the public key as a secret": ("wrong_algorithm", hmac_with_public_key),
    "an algorithm that isn't the key's": ("wrong_algorithm", lambda s, c: relabelled(s, signed(s, c))),
    "unknown key": ("unknown_key", lambda s, c: signed(s, c, kid="another")),
    "no key id": ("unknown_key", lambda s, c: jwt.encode(c, s.current.signing.private, "EdDSA", {"typ": "at+jwt"})),
    "other type": ("wrong_type", lambda s, c: signed(s, c, typ="JWT")),
    "other issuer": ("wrong_issuer", lambda s, c: signed(s, c | {"iss": "https://else.example"})),
    "other audience": ("wrong_audience", lambda s, c: signed(s, c | {"aud": "else"})),
    "audience among others": ("wrong_audience", lambda s, c: signed(s, c | {"aud": ["slipway", "else"]})),
    "expired": ("expired", lambda s, c: signed(s, c | {"exp": int(time()) - 6})),
    "not yet valid": ("not_yet_valid", lambda s, c: signed(s, c | {"nbf": int(time()) + 60})),
    "issued in the future": ("not_yet_valid", lambda s, c: signed(s, c | {"iat": int(time()) + 60})),
    "tampered": ("bad_signature", lambda s, c: tampered(signed(s, c))),
    "huge": ("too_large", lambda s, c: signed(s, c | {"scope": "x" * 9000})),
    "garbage": ("malformed", lambda *_: "not.a.token"),
    "empty": ("malformed", lambda *_: ""),
    "no dots": ("malformed", lambda *_: "abc"),
    "deep": ("malformed", lambda *_: base64.urlsafe_b64encode(b"[" * 6000).decode()[:8000] + ".e30.e30"),
    "surrogate": ("malformed", lambda *_: "\ud800.x.y"),
    "text as session": ("malformed", lambda s, c: signed(s, c | {"sid": "mine"})),
    "number as session": ("malformed", lambda s, c: signed(s, c | {"sid": 5})),
    "list as scope": ("malformed", lambda s, c: signed(s, c | {"scope": ["admin:write"]})),
    "endless": ("malformed", lambda s, c: signed(s, c | {"exp": float("inf")})),
    "too far to count": ("malformed", lambda s, c: signed(s, c | {"exp": 10**400})),
    **{f"no {name}": ("missing_claim", lambda s, c, name=name: signed(s, without(c, name)))
       for name in tokens.REQUIRED_CLAIMS},
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_token_is_refused_and_its_reason_counted(kind: str, store: KeyStore, ours: Tokens) -> None:
    reason, make = WRONG[kind]
    before = rejections(reason)
    assert ours.identify(make(store, claims_of(ours))) is None
    assert rejections(reason) == before + 1


def test_the_same_claims_signed_properly_are_accepted(store: KeyStore, ours: Tokens) -> None:
    assert ours.identify(signed(store, claims_of(ours))) is not None


def test_without_checking_the_signature_a_tampered_token_would_be_accepted(
    store: KeyStore, ours: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_decode", lambda token, _: jwt.decode(token, options={"verify_signature": False}))
    found = ours.identify(tampered(signed(store, claims_of(ours))))
    assert found is not None
    assert found.permissions == {"admin:write"}


def test_without_the_type_check_another_kind_of_token_would_be_accepted(
    store: KeyStore, ours: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(store, claims_of(ours), typ="JWT")
    assert ours.identify(token) is None
    monkeypatch.setattr(tokens, "TOKEN_TYPE", "jwt")
    assert ours.identify(token) is not None


def test_a_remembered_token_expires_like_any_other(ours: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = ours.issue(USER, SESSION, [])
    assert ours.identify(token) is not None
    monkeypatch.setattr(tokens, "time", lambda: time() + 904)
    assert ours.identify(token) is not None, "within the leeway"
    monkeypatch.setattr(tokens, "time", lambda: time() + 906)
    assert ours.identify(token) is None


def both(one: KeySet, two: KeySet, signing: KeySet) -> KeySet:
    return KeySet({**one.keys, **two.keys}, signing.signing)


def test_tokens_of_a_listed_key_live_on_and_those_of_a_removed_key_end_at_once(
    store: KeyStore, ours: Tokens, tmp_path: Path
) -> None:
    old, new = store.current, generate_keys(tmp_path / "new")
    token = ours.issue(USER, SESSION, [])
    assert ours.identify(token) is not None
    store.replace(both(old, new, new))
    assert jwt.get_unverified_header(ours.issue(USER, SESSION, []))["kid"] == new.signing.id
    assert ours.identify(token) is not None
    store.replace(new)
    assert ours.identify(token) is None


def test_without_dropping_the_cache_a_removed_key_would_live_on(tmp_path: Path) -> None:
    store = KeyStore(generate_keys(tmp_path / "old"))
    store.on_change = lambda _: None  # type: ignore[method-assign]
    ours = Tokens(Settings(), store)
    token = ours.issue(USER, SESSION, [])
    ours.identify(token)
    store.replace(generate_keys(tmp_path / "new"))
    assert ours.identify(token) is not None


def test_the_cache_is_bounded(ours: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHE_SIZE", 3)
    for _ in range(5):
        assert ours.identify(ours.issue(USER, SESSION, [])) is not None
    assert len(ours._verified) == 3  # noqa: SLF001 - its size is seen by nobody else


@given(st.text(max_size=200) | st.lists(st.text(max_size=40), min_size=3, max_size=3).map(".".join))
def test_no_text_makes_identify_raise(token: str) -> None:
    assert STRANGERS.identify(token) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5), st.data())
def test_no_signed_claim_makes_identify_raise(value: object, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(tokens.REQUIRED_CLAIMS))
    STRANGERS.identify(signed(STRANGERS_KEYS, CLAIMS | {name: value}))


def _strangers() -> tuple[Tokens, KeyStore]:
    import tempfile  # noqa: PLC0415 - hypothesis takes no fixtures of function scope

    with tempfile.TemporaryDirectory() as folder:
        keys = KeyStore(generate_keys(Path(folder)))
    return Tokens(Settings(), keys), keys


STRANGERS, STRANGERS_KEYS = _strangers()
CLAIMS = claims_of(STRANGERS)
