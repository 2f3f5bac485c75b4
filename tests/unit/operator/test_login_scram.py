"""Verifiers as PostgreSQL keeps them, against the example of RFC 7677."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest

from slipway_operator.logins import scram

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCES = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
AUTH_MESSAGE = (
    f"n=user,r={NONCES[0]},r={NONCES[0]}{NONCES[1]},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={NONCES[0]}{NONCES[1]}"
)
CLIENT_PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def _keys(verifier: str) -> tuple[bytes, bytes]:
    stored, server = verifier.rpartition("$")[2].split(":")
    return base64.b64decode(stored), base64.b64decode(server)


def test_the_proof_of_the_rfcs_example_is_accepted() -> None:
    stored, server = _keys(scram.verifier("pencil", SALT))
    signature = hmac.digest(stored, AUTH_MESSAGE.encode(), "sha256")
    client = bytes(one ^ other for one, other in zip(CLIENT_PROOF, signature, strict=True))
    assert hashlib.sha256(client).digest() == stored
    assert hmac.digest(server, AUTH_MESSAGE.encode(), "sha256") == SERVER_SIGNATURE


def test_another_password_has_another_verifier() -> None:
    assert _keys(scram.verifier("pencils", SALT)) != _keys(scram.verifier("pencil", SALT))


def test_each_verifier_has_a_salt_of_its_own_and_the_form_that_postgresql_takes() -> None:
    found = [scram.verifier("pencil") for _ in range(3)]
    assert len(set(found)) == 3
    assert all(re.fullmatch(r"SCRAM-SHA-256\$4096:[\w+/]{22}==\$[\w+/]{43}=:[\w+/]{43}=", one) for one in found)
    assert "pencil" not in "".join(found)


def test_passwords_are_long_unlike_and_free_of_what_a_uri_would_escape() -> None:
    found = [scram.new_password() for _ in range(100)]
    assert len(set(found)) == 100
    assert all(re.fullmatch(r"[\w-]{43}", one, re.ASCII) for one in found)


def test_nobody_knows_the_password_of_a_scrambled_role() -> None:
    assert scram.unknown() != scram.unknown()


@pytest.mark.parametrize("password", ["pässword", "with\0zero"])
def test_a_password_that_saslprep_would_change_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(ValueError, match="SASLprep") as raised:
        scram.verifier(password)
    assert password not in str(raised.value)
