"""Passwords, and the verifiers that PostgreSQL keeps of them (RFC 5802, RFC 7677).

The operator computes the verifier itself, so that no password is ever in SQL: whatever the server logs, it is at most
a verifier, with which nobody can log in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096
"""What PostgreSQL itself takes; passwords of 256 random bits need no more."""
SALT_BYTES = 16


def new_password() -> str:
    """256 random bits. Only letters, digits, `-` and `_`: SASLprep changes nothing in it, nor does a URI."""
    return secrets.token_urlsafe(32)


def verifier(password: str, salt: bytes | None = None) -> str:
    """As `pg_authid.rolpassword` holds it; characters of base64, `$`, `:` and `-` only.

    The password must be ASCII, because SASLprep is left out: else ValueError, which doesn't repeat it.
    """
    if not password.isascii() or not password.isprintable():
        raise ValueError("The password has characters that SASLprep would change.")
    salt = salt if salt is not None else secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    server = _mac(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def unknown() -> str:
    """Verifier of a password that nobody knows."""
    return verifier(new_password())


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
