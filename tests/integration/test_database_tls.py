"""TLS to PostgreSQL by settings."""

from __future__ import annotations

import os
import pwd
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import text

from servers.postgres import WITH_TLS, PostgresServer
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings

IN_USE = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def _server_with_certificate(authority: trustme.CA, name: str) -> PostgresServer:
    server = PostgresServer(programs=WITH_TLS)
    certificate = authority.issue_cert(name)
    key, chain = server.folder / "key.pem", server.folder / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    key.chmod(0o600)
    if os.geteuid() == 0:
        owner = pwd.getpwnam("nobody")
        os.chown(key, owner.pw_uid, owner.pw_gid)
    server.options |= {"ssl": "on", "ssl_key_file": str(key), "ssl_cert_file": str(chain)}
    server.start()
    return server


@pytest.fixture(scope="module")
def postgres_with_tls(authority: trustme.CA) -> Iterator[PostgresServer]:
    server = _server_with_certificate(authority, "127.0.0.1")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def postgres_of_another_name(authority: trustme.CA) -> Iterator[PostgresServer]:
    server = _server_with_certificate(authority, "elsewhere.example")
    yield server
    server.remove()


async def _uses_tls(server: PostgresServer, tls: str, bundle: Path | None) -> bool:
    settings = Settings(database_url=server.url(), database_tls=tls, database_ca_file=bundle)  # type: ignore[arg-type]
    database = Database(settings, login_from_settings(settings))
    try:
        async with database.transaction() as session:
            encrypted: bool = (await session.execute(IN_USE)).scalar_one()
            return encrypted
    finally:
        await database.close()


async def test_verify_full_accepts_the_server_that_the_bundle_vouches_for(
    postgres_with_tls: PostgresServer, bundle: Path
) -> None:
    assert await _uses_tls(postgres_with_tls, "verify-full", bundle)


async def test_verify_full_refuses_a_certificate_of_another_name(
    postgres_of_another_name: PostgresServer, bundle: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        await _uses_tls(postgres_of_another_name, "verify-full", bundle)


async def test_verify_full_refuses_an_authority_it_does_not_know(postgres_with_tls: PostgresServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await _uses_tls(postgres_with_tls, "verify-full", None)


async def test_require_encrypts_without_checking_whom_it_talks_to(postgres_of_another_name: PostgresServer) -> None:
    """The negative control of the two refusals above: the check switched off, the connection is made."""
    assert await _uses_tls(postgres_of_another_name, "require", None)


async def test_disable_does_not_encrypt(postgres_with_tls: PostgresServer) -> None:
    assert not await _uses_tls(postgres_with_tls, "disable", None)
