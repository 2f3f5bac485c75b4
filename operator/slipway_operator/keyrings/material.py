"""Private keys: made, read from a Secret, and written into one. Nothing here shows them.

The id of a key is its thumbprint (RFC 7638), so that an id proves which key it belongs to. A pod refuses a set with any
fault as a whole, and keeps the former: so a key is held only if the service would take it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms
from jwt.utils import from_base64url_uint

from slipway_operator.keyrings.model import Algorithm, HeldKey

KEYS_FILE, SIGNING_FILE = "jwks.json", "signing"
RSA_BITS, MOST_RSA_BITS = 2048, 8192
MOST_KEYS = 100
PUBLISHED_KEYS = frozenset({"WhHmVolqafTEbNBQo006oq4ZkfzWwrbK1X3GcrCLXfY"})
"""Public parts (`x`) of keys whose private part everyone may read; services in production refuse them."""
MOST_REMEMBERED = 10_000
_AS_WRITTEN: dict[bytes, HeldKey] = {}
"""By the digest of a whole private JWK: what is public of it. Key material is not kept here."""
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
_ID_LIMIT = 128
_KINDS: Mapping[tuple[Any, Any], Algorithm] = MappingProxyType(
    {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}
)
_REQUIRED: Mapping[Algorithm, tuple[str, ...]] = MappingProxyType(
    {"EdDSA": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y"), "RS256": ("e", "kty", "n")}
)


@dataclass(frozen=True, slots=True)
class Material:
    """Private JWKs by id, and the id that signs; what doesn't parse, or pods would refuse, isn't there.

    Of a JWK only the members of its key are there: another's remark could make the set one that pods can't parse.
    """

    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    held: tuple[HeldKey, ...] = ()
    signing: str = ""
    unfit: tuple[str, ...] = ()
    """Ids, or places in the list, of keys that aren't held."""


def generate(algorithm: Algorithm) -> tuple[str, dict[str, Any]]:
    """A new key: its id, and its private JWK. RSA takes up to a second."""
    private = _generate(algorithm)
    identity = thumbprint(_members(private.public_key(), algorithm), algorithm)
    return identity, _jwk(private, identity, algorithm)


def thumbprint(public: Mapping[str, Any], algorithm: Algorithm) -> str:
    """RFC 7638, with SHA-256, in base64url."""
    required = {name: public[name] for name in _REQUIRED[algorithm]}
    text = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def understand(data: Mapping[str, bytes]) -> Material:
    """The keys of a Secret that a pod could sign with; a set that pods can't parse holds none."""
    keys: dict[str, Mapping[str, Any]] = {}
    held: list[HeldKey] = []
    unfit: list[str] = []
    for place, jwk in enumerate(_listed(data.get(KEYS_FILE, b"")), start=1):
        found = _found(jwk) if place <= MOST_KEYS and isinstance(jwk, dict) else None
        if found is not None and found[0].id not in keys:
            one, keys[one.id] = found
            held.append(one)
        else:
            # Of two with one id, the first is held: listing that id would give up both.
            identity = _id(jwk)
            unfit.append(identity if identity and identity not in keys else f"number {place}")
    signing = data.get(SIGNING_FILE, b"").decode("utf-8", "replace").strip()
    return Material(keys, tuple(held), signing if signing in keys else "", tuple(unfit))


def files(keys: Iterable[Mapping[str, Any]], signing: str) -> dict[str, bytes]:
    """What the Secret holds, in a fixed order of keys."""
    listed = sorted((dict(key) for key in keys), key=lambda key: str(key["kid"]))
    return {KEYS_FILE: json.dumps({"keys": listed}, sort_keys=True).encode(), SIGNING_FILE: signing.encode()}


def _listed(text: bytes) -> list[Any]:
    try:
        document = json.loads(text.decode())
        # Python reads NaN, Infinity and half surrogates; the service's parser does not.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return []
    listed = document.get("keys") if isinstance(document, dict) else None
    return listed if isinstance(listed, list) else []


def _id(jwk: Any) -> str:
    """Empty for one that could be none: what somebody else wrote is told only if it looks like an id."""
    found = jwk.get("kid") if isinstance(jwk, dict) else None
    fits = isinstance(found, str) and 0 < len(found) <= _ID_LIMIT and _ID_CHARACTERS.issuperset(found)
    return str(found) if fits else ""


def _found(jwk: dict[str, Any]) -> tuple[HeldKey, dict[str, Any]] | None:
    """A large RSA key takes a second to build and check, so one that was written here is built once only."""
    mark = sha256(json.dumps(jwk, sort_keys=True).encode()).digest()
    known = _AS_WRITTEN.get(mark)
    if known is not None:
        return known, jwk
    found = _built(jwk)
    if found is not None and found[1] == jwk:
        if len(_AS_WRITTEN) >= MOST_REMEMBERED:
            _AS_WRITTEN.clear()
        _AS_WRITTEN[mark] = found[0]
    return found


def _built(jwk: dict[str, Any]) -> tuple[HeldKey, dict[str, Any]] | None:
    identity, algorithm = _id(jwk), _algorithm(jwk)
    if not identity or algorithm is None:
        return None
    try:
        # Before the key is built, which takes seconds for one that is far too long.
        if algorithm == "RS256" and not RSA_BITS <= from_base64url_uint(jwk["n"]).bit_length() <= MOST_RSA_BITS:
            return None
        private: Any = PyJWK(jwk, algorithm).key
        public = _members(private.public_key(), algorithm)
        whole = _jwk(private, identity, algorithm)
    except Exception:  # noqa: BLE001 - the libraries raise many kinds, and some quote the key
        return None
    if public.get("x") in PUBLISHED_KEYS:
        return None
    return HeldKey(identity, algorithm, identity == thumbprint(public, algorithm)), whole


def _algorithm(jwk: Mapping[str, Any]) -> Algorithm | None:
    """The one of its kind of key; None where there is none, or the key says that it is for something else."""
    kind, curve = jwk.get("kty"), jwk.get("crv")
    algorithm = _KINDS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    fits = jwk.get("alg", algorithm) == algorithm and jwk.get("use", "sig") == "sig"
    return algorithm if fits else None


def _generate(algorithm: Algorithm) -> Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey:
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    return generate_rsa_key(public_exponent=65537, key_size=RSA_BITS)


def _jwk(private: Any, identity: str, algorithm: Algorithm) -> dict[str, Any]:
    return {**_members(private, algorithm), "kid": identity, "alg": algorithm, "use": "sig"}


def _members(key: Any, algorithm: Algorithm) -> dict[str, Any]:
    members: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(key, as_dict=True)
    members.pop("key_ops", None)
    return members
