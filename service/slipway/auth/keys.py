"""Signing keys: a private JWK Set in `jwks.json`, and in `signing` the id of the key that signs.

Every listed key verifies; one signs. A reserve that is published long before it signs lets other parties' caches
learn it. Failure policy: a set with any fault is refused as a whole, by a message that never shows key material.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms

from slipway.settings import Settings
from slipway.storage.files import Files, FilesError, read_folder

Algorithm = Literal["EdDSA", "ES256", "RS256"]

ALGORITHMS: Mapping[tuple[str, str | None], Algorithm] = MappingProxyType(
    {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", None): "RS256"}
)
"""The one algorithm of each kind of key, by JWK `kty` and `crv`."""

PUBLIC_MEMBERS = frozenset({"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"})
"""What `/.well-known/jwks.json` may show; anything else of a key stays here."""

DEMO_KEYS = frozenset({"WhHmVolqafTEbNBQo006oq4ZkfzWwrbK1X3GcrCLXfY"})
"""Public parts (`x`) of keys whose private part is published with the chart's demo; production refuses them."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
KEY_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class KeysError(FilesError):
    """The files don't make a usable key set; the message names keys by id or position only."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key, its algorithm pinned. `private` is None where only the public part is held."""

    id: str
    algorithm: Algorithm
    public: Any = field(repr=False)
    private: Any = field(repr=False)
    public_jwk: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id, and the one that signs."""

    keys: Mapping[str, Key]
    signing: Key

    @classmethod
    def load(cls, folder: Path) -> KeySet:
        """Raises KeysError, or FilesError when the folder can't be read."""
        return cls.from_files(read_folder(folder))

    @classmethod
    def from_files(cls, files: Files) -> KeySet:
        """Understand `jwks.json` and `signing`. Raises KeysError."""
        keys: dict[str, Key] = {}
        for position, jwk in enumerate(_listed_keys(files), start=1):
            key = _parse_key(jwk, position)
            if key.id in keys:
                raise KeysError(f"The key id {key.id} is there twice.")
            keys[key.id] = key
        signing = keys.get(_signing_id(files))
        if signing is None:
            raise KeysError("The key named in `signing` is not in jwks.json.")
        if signing.private is None:
            raise KeysError(f"The key {signing.id} is to sign, but its private part is missing.")
        return cls(MappingProxyType(keys), signing)

    def public_jwks(self) -> bytes:
        """The JWK Set that anyone may read, as JSON."""
        return orjson.dumps({"keys": [dict(key.public_jwk) for key in self.keys.values()]})

    def algorithms(self) -> list[str]:
        return sorted({key.algorithm for key in self.keys.values()})


def keys_from_files(settings: Settings, files: Files) -> KeySet:
    """Understand the mounted files; production refuses a key that everyone knows, even to verify. Raises KeysError."""
    keys = KeySet.from_files(files)
    known = [key.id for key in keys.keys.values() if key.public_jwk.get("x") in DEMO_KEYS]
    if settings.production and known:
        raise KeysError(f"The key {known[0]} is the demo's, whose private part everyone knows: make one of your own.")
    return keys


def _listed_keys(files: Files) -> list[Any]:
    if "jwks.json" not in files:
        raise KeysError("jwks.json is missing.")
    try:
        document = orjson.loads(files["jwks.json"])
    except orjson.JSONDecodeError:
        raise KeysError("jwks.json is no JSON.") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed:
        raise KeysError("jwks.json has no `keys`.")
    return listed


def _signing_id(files: Files) -> str:
    name = files.get("signing", b"").decode("utf-8", "replace").strip()
    if not KEY_ID.fullmatch(name):
        raise KeysError("The file `signing` doesn't hold a key id.")
    return name


def _parse_key(jwk: object, position: int) -> Key:
    if not isinstance(jwk, dict):
        raise KeysError(f"Key {position} is no JSON object.")
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
        raise KeysError(f"Key {position} has no usable `kid` (1-128 of A-Z a-z 0-9 . _ ~ -).")
    algorithm = _algorithm(jwk, key_id)
    public, private = _materials(jwk, key_id, algorithm)
    return Key(key_id, algorithm, public, private, _public_jwk(public, key_id, algorithm))


def _algorithm(jwk: Mapping[str, Any], key_id: str) -> Algorithm:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "oct":
        raise KeysError(f"The key {key_id} is symmetric: whoever checks tokens with it could make them.")
    algorithm = ALGORITHMS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithm is None:
        raise KeysError(f"The key {key_id} is of an unknown kind: use Ed25519, P-256 or RSA.")
    if jwk.get("alg", algorithm) != algorithm:
        raise KeysError(f"The key {key_id} names an algorithm that isn't its own, {algorithm}.")
    if jwk.get("use", "sig") != "sig":
        raise KeysError(f"The key {key_id} is not for signatures.")
    return algorithm


def _materials(jwk: dict[str, Any], key_id: str, algorithm: Algorithm) -> tuple[Any, Any]:
    try:
        material: Any = PyJWK(jwk, algorithm).key
    except Exception:  # noqa: BLE001 - the libraries raise many kinds, and some quote the key
        raise KeysError(f"The key {key_id} is malformed.") from None
    is_private = isinstance(material, Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey)
    private: Any = material if is_private else None
    public: Any = private.public_key() if is_private else material
    if algorithm == "RS256" and not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise KeysError(f"The RSA key {key_id} must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits.")
    return public, private


def _public_jwk(public: Any, key_id: str, algorithm: Algorithm) -> Mapping[str, str]:
    members = to_jwk(public, algorithm) | {"kid": key_id, "alg": algorithm, "use": "sig"}
    return MappingProxyType({name: value for name, value in members.items() if name in PUBLIC_MEMBERS})


def to_jwk(material: Any, algorithm: Algorithm) -> dict[str, Any]:
    """All members of a key, of a private key the private ones too."""
    members: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(material, as_dict=True)
    return members


class KeyStore:
    """The key set in force; replaced as a whole, and everyone who asked is told."""

    def __init__(self, keys: KeySet) -> None:
        self.current = keys
        self._callbacks: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def replace(self, keys: KeySet) -> None:
        self.current = keys
        for callback in self._callbacks:
            callback()

    def report(self) -> dict[str, Any]:
        """For the ops port's `/keys`: ids only."""
        return {"keys": list(self.current.keys), "signing": self.current.signing.id}


def generate_keys(folder: Path, algorithm: Algorithm = "EdDSA") -> KeySet:
    """Write a fresh key into `folder` (0700, files 0600) unless a key set is there already; return what is there.

    For `slipway run`. `signing` is written first: until `jwks.json` follows, there is no set to be read half.
    """
    if not (folder / "jwks.json").exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = to_jwk(_generate(algorithm), algorithm)
        key_id = _thumbprint(private)
        jwk = private | {"kid": key_id, "alg": algorithm, "use": "sig"}
        jwk.pop("key_ops", None)
        _write_private(folder / "signing", key_id.encode())
        _write_private(folder / "jwks.json", orjson.dumps({"keys": [jwk]}))
    return KeySet.load(folder)


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638, with SHA-256, in base64url: an id that proves which key it belongs to."""
    required = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}[jwk["kty"]]
    found = hashlib.sha256(orjson.dumps({name: jwk[name] for name in required}, option=orjson.OPT_SORT_KEYS))
    return base64.urlsafe_b64encode(found.digest()).rstrip(b"=").decode()


def _generate(algorithm: Algorithm) -> Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey:
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    return generate_rsa_key(public_exponent=65537, key_size=MIN_RSA_BITS)


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; readable by its owner only from its first byte on."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
