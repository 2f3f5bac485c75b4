"""Opaque random tokens: refresh tokens and password reset tokens, of which only hashes are stored."""

from __future__ import annotations

import secrets
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN_BYTES = 32
NONCE_BYTES = 12


def new_token() -> str:
    """256 random bits as URL-safe text."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> bytes:
    """What is stored. Plain SHA-256 does: 256 random bits can't be guessed, so nothing needs to be slow."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def seal_successor(token: str, successor: str) -> bytes:
    """Encrypt the next token under one that isn't stored: whoever reads the database learns neither."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(_sealing_key(token)).encrypt(nonce, successor.encode(), None)


def open_successor(token: str, sealed: bytes) -> str | None:
    """The next token; None when `sealed` wasn't made with `token`."""
    try:
        return AESGCM(_sealing_key(token)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError):
        return None


def _sealing_key(token: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"slipway refresh successor").derive(token.encode())
