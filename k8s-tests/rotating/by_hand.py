"""What the operator does step by step, done at once by hand: the controls of its patience."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cluster.model import Cluster
from migrating.database import sql
from rotating import material


def fresh_key() -> dict[str, Any]:
    """A private JWK whose id is its thumbprint (RFC 7638)."""
    private = Ed25519PrivateKey.generate()
    public = {"crv": "Ed25519", "kty": "OKP", "x": _text(private.public_key().public_bytes_raw())}
    thumbprint = hashlib.sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**public, "d": _text(private.private_bytes_raw()), "kid": _text(thumbprint), "alg": "EdDSA", "use": "sig"}


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def keys_in(secret: dict[str, Any] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(material.data(secret)["jwks.json"])["keys"]
    return found


def write_keys(cluster: Cluster, namespace: str, keys: list[dict[str, Any]], signing: str) -> None:
    document = json.dumps({"keys": keys}).encode()
    material.write(cluster, namespace, material.RING, {"jwks.json": document, "signing": signing.encode()})


def hurry(cluster: Cluster, namespace: str, *pods: str) -> None:
    """Have the kubelet look at these pods, and so at their Secrets, at once."""
    words = ("annotate", "pods", *pods, f"--namespace={namespace}", "--overwrite")
    cluster.kubectl.run(*words, f"slipway.dev/by-hand={uuid4().hex}")


def lock_role(cluster: Cluster, namespace: str, role: str) -> None:
    """Nobody logs in as it any more; sessions it has are ended, as a pool ends and replaces them all the time."""
    sql(cluster, namespace, f"ALTER ROLE {role} NOLOGIN")
    sql(cluster, namespace, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")  # noqa: S608 - a role of ours


def unlock_role(cluster: Cluster, namespace: str, role: str) -> None:
    sql(cluster, namespace, f"ALTER ROLE {role} LOGIN")
