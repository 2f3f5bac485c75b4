"""Key sets: what is accepted, what is refused, and that no message shows key material."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

from slipway.auth import keys
from slipway.auth.keys import KeysError, KeySet, KeyStore, generate_keys

ALGORITHMS = ("EdDSA", "ES256", "RS256")
SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k"}


def made(folder: Path, algorithm: str = "EdDSA") -> dict[str, Any]:
    """One private JWK."""
    generate_keys(folder, algorithm)  # type: ignore[arg-type]
    jwk: dict[str, Any] = json.loads((folder / "jwks.json").read_text())["keys"][0]
    return jwk


def files(*jwks: object, signing: object = "a") -> dict[str, bytes]:
    return {"jwks.json": json.dumps({"keys": jwks}).encode(), "signing": str(signing).encode()}


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def ed(tmp_path: Path) -> dict[str, Any]:
    return made(tmp_path / "ed") | {"kid": "a"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_public_set_of_each_algorithm_holds_nothing_private(tmp_path: Path, algorithm: str) -> None:
    jwk = made(tmp_path, algorithm) | {"kid": "a", "note": "inner remark"}
    key_set = KeySet.from_files(files(jwk))
    shown = json.loads(key_set.public_jwks())["keys"]
    assert key_set.signing.algorithm == algorithm
    assert set(shown[0]) <= keys.PUBLIC_MEMBERS
    assert {name: shown[0][name] for name in ("kid", "alg", "use", "kty")} == {
        "kid": "a", "alg": algorithm, "use": "sig", "kty": jwk["kty"],
    }  # fmt: skip
    assert not any(jwk[name] in key_set.public_jwks().decode() for name in SECRET_MEMBERS & set(jwk))


def test_without_the_allow_list_a_foreign_member_would_be_shown(
    ed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = keys.to_jwk
    monkeypatch.setattr(keys, "to_jwk", lambda key, algorithm: exported(key, algorithm) | {"d": ed["d"]})
    assert ed["d"] not in KeySet.from_files(files(ed)).public_jwks().decode()
    monkeypatch.setattr(keys, "PUBLIC_MEMBERS", keys.PUBLIC_MEMBERS | {"d"})
    assert ed["d"] in KeySet.from_files(files(ed)).public_jwks().decode()


def test_a_public_key_verifies_beside_the_one_that_signs(ed: dict[str, Any], tmp_path: Path) -> None:
    other = made(tmp_path / "other", "ES256") | {"kid": "b"}
    del other["d"]
    key_set = KeySet.from_files(files(ed, other))
    assert (key_set.signing.id, list(key_set.keys), key_set.algorithms()) == ("a", ["a", "b"], ["ES256", "EdDSA"])


def rsa_of(bits: int) -> dict[str, Any]:
    material = generate_private_key(public_exponent=65537, key_size=bits)
    return RSAAlgorithm.to_jwk(material, as_dict=True) | {"kid": "a", "alg": "RS256"}


def mixed(tmp_path: Path, algorithm: str, *members: str) -> dict[str, Any]:
    """A private key whose public members are those of another key."""
    other = made(tmp_path / "stranger", algorithm)
    return made(tmp_path / "own", algorithm) | {"kid": "a"} | {name: other[name] for name in members}


def broken_sets(ed: dict[str, Any], tmp_path: Path) -> dict[str, tuple[dict[str, bytes], str]]:
    public = {name: value for name, value in ed.items() if name != "d"}
    return {
        "no file": ({"signing": b"a"}, "jwks.json is missing"),
        "half a file": ({"jwks.json": files(ed)["jwks.json"][:-20], "signing": b"a"}, "no JSON"),
        "no keys": (files(), "no `keys`"),
        "a list": ({"jwks.json": b"[]", "signing": b"a"}, "no `keys`"),
        "no object": (files("x"), "Key 1 is no JSON object"),
        "no id": (files({**ed, "kid": None}), "Key 1 has no usable `kid`"),
        "odd id": (files({**ed, "kid": "a b"}), "Key 1 has no usable `kid`"),
        "twice": (files(ed, ed), "The key id a is there twice"),
        "no signing": ({"jwks.json": files(ed)["jwks.json"]}, "doesn't hold a key id"),
        "other signing": (files(ed, signing="b"), "not in jwks.json"),
        "public only": (files(public), "its private part is missing"),
        "symmetric": (files({"kty": "oct", "kid": "a", "k": encoded(b"s" * 32)}), "symmetric"),
        "no kind": (files({**ed, "kty": None}), "unknown kind"),
        "odd kind": (files({**ed, "kty": ["OKP"]}), "unknown kind"),
        "other curve": (files({**ed, "crv": "Ed448"}), "unknown kind"),
        "other algorithm": (files({**ed, "alg": "HS256"}), "isn't its own, EdDSA"),
        "for encryption": (files({**ed, "use": "enc"}), "not for signatures"),
        "malformed": (files({**ed, "d": ed["d"][:10]}), "The key a is malformed"),
        "no text": (files({**ed, "d": 5}), "The key a is malformed"),
        "mixed": (files(mixed(tmp_path / "1", "EdDSA", "x")), "The key a is malformed"),
        "mixed EC": (files(mixed(tmp_path / "2", "ES256", "x", "y")), "The key a is malformed"),
        "mixed RSA": (files(mixed(tmp_path / "3", "RS256", "n")), "The key a is malformed"),
        "weak RSA": (files(rsa_of(1024)), "2048 to 8192 bits"),
    }  # fmt: skip


def test_every_faulty_set_is_refused_with_a_reason_that_shows_no_key(ed: dict[str, Any], tmp_path: Path) -> None:
    for name, (content, reason) in broken_sets(ed, tmp_path).items():
        with pytest.raises(KeysError) as caught:
            KeySet.from_files(content)
        message = str(caught.value)
        assert reason in message, name
        assert caught.value.__cause__ is None, name
        assert caught.value.__suppress_context__ or caught.value.__context__ is None, name
        listed = content.get("jwks.json", b"").decode()
        assert not any(len(part) > 12 and part in message for part in listed.split('"')), name


def test_a_key_shows_no_material_in_its_representation(ed: dict[str, Any]) -> None:
    key_set = KeySet.from_files(files(ed))
    assert repr(key_set.signing) == "Key(id='a', algorithm='EdDSA')"
    assert ed["d"] not in repr(key_set)
    assert ed["x"] not in repr(key_set)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_generated_keys_are_readable_by_their_owner_only_and_made_once(tmp_path: Path, algorithm: str) -> None:
    folder = tmp_path / "deep" / "keys"
    first = generate_keys(folder, algorithm)  # type: ignore[arg-type]
    assert generate_keys(folder, algorithm).signing.id == first.signing.id  # type: ignore[arg-type]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "jwks.json": 0o600, "signing": 0o600,
    }  # fmt: skip
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_store_tells_everyone_about_a_new_set_and_reports_ids_only(tmp_path: Path) -> None:
    store = KeyStore(generate_keys(tmp_path / "one"))
    second = generate_keys(tmp_path / "two")
    told: list[str] = []
    store.on_change(lambda: told.append(store.current.signing.id))
    store.replace(second)
    assert told == [second.signing.id]
    assert store.report() == {"keys": [second.signing.id], "signing": second.signing.id}
