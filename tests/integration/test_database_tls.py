"""TLS to PostgreSQL by settings."""

from __future__ import annotations

import os
import pwd
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from sqlalchemy import text

from servers.postgres import WITH_TLS, PostgresServer
from servers.staging import staged
from slipway.migrations.session import connect
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.storage.login import Login, LoginError, login_from_settings
from slipway_operator.logins.address import login_of
from slipway_operator.logins.connecting import TroubleError, connected

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


async def _uses_tls(server: PostgresServer, tls: str, bundle: Path | None, asked: str = "") -> bool:
    url = f"{server.url()}?{asked}"
    settings = Settings(database_url=url, database_tls=tls, database_ca_file=bundle)  # type: ignore[arg-type]
    database = Database(settings, login_from_settings(settings))
    try:
        async with staged(database) as session:
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


@pytest.mark.parametrize("tls", ["disable", "require"])
async def test_a_url_asks_for_verification_whatever_the_setting_says(
    postgres_with_tls: PostgresServer, postgres_of_another_name: PostgresServer, bundle: Path, tls: str
) -> None:
    asked = f"sslmode=verify-full&sslrootcert={quote(str(bundle))}"
    assert await _uses_tls(postgres_with_tls, tls, None, asked)
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        await _uses_tls(postgres_of_another_name, tls, None, asked)
    with pytest.raises(ssl.SSLCertVerificationError):
        await _uses_tls(postgres_with_tls, tls, None, "sslmode=verify-full")


@pytest.mark.parametrize("asked", ["sslmode=verify-ca", "sslmode=require"])
async def test_a_bundle_in_the_url_checks_the_chain_and_with_verify_ca_no_name(
    postgres_of_another_name: PostgresServer, bundle: Path, tmp_path: Path, asked: str
) -> None:
    assert await _uses_tls(postgres_of_another_name, "disable", None, f"{asked}&sslrootcert={quote(str(bundle))}")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        await _uses_tls(postgres_of_another_name, "disable", None, f"{asked}&sslrootcert={tmp_path}/other.pem")


async def test_a_url_weakens_no_setting(postgres_of_another_name: PostgresServer, bundle: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        await _uses_tls(postgres_of_another_name, "verify-full", bundle, "sslmode=disable")


async def test_prefer_encrypts_where_the_server_can(
    postgres_with_tls: PostgresServer, postgres: PostgresServer
) -> None:
    assert await _uses_tls(postgres_with_tls, "disable", None, "sslmode=prefer")
    assert not await _uses_tls(postgres, "disable", None, "sslmode=prefer")
    with pytest.raises(ConnectionError, match="rejected SSL upgrade"):
        await _uses_tls(postgres, "disable", None, "sslmode=require")


async def test_schema_commands_ask_for_the_same(
    postgres_with_tls: PostgresServer, postgres_of_another_name: PostgresServer, bundle: Path
) -> None:
    asked = f"?sslmode=verify-full&sslrootcert={quote(str(bundle))}"
    connection = await connect(Settings(database_url=postgres_with_tls.url() + asked))  # type: ignore[arg-type]
    assert await connection.fetchval(str(IN_USE))
    await connection.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(Settings(database_url=postgres_of_another_name.url() + asked))  # type: ignore[arg-type]


async def test_a_changed_login_is_reached_as_it_asks(postgres_with_tls: PostgresServer, bundle: Path) -> None:
    plain, asking = postgres_with_tls.url(), f"{postgres_with_tls.url()}?sslmode=verify-full&sslrootcert={bundle}"
    settings = Settings(database_url=plain)  # type: ignore[arg-type]
    database = Database(settings, login_from_settings(settings))
    try:
        async with staged(database) as session:
            assert not (await session.execute(IN_USE)).scalar_one()
        await database.change_login(Login.from_url(asking))
        async with staged(database) as session:
            assert (await session.execute(IN_USE)).scalar_one()
    finally:
        await database.close()


async def test_parameters_of_a_url_reach_the_server_and_undo_no_limit_of_ours(postgres: PostgresServer) -> None:
    options = quote("-c search_path=ships -c statement_timeout=0")
    settings = Settings(database_url=f"{postgres.url()}?application_name=shop&options={options}")  # type: ignore[arg-type]
    database = Database(settings, login_from_settings(settings))
    try:
        async with staged(database) as session:
            shown = [
                (await session.execute(text(f"SHOW {name}"))).scalar_one()
                for name in ("search_path", "application_name", "statement_timeout")
            ]
    finally:
        await database.close()
    assert shown == ["ships", "shop", "10s"]


async def _operator_uses_tls(server: PostgresServer, asked: str = "", authority: bytes = b"") -> bool:
    login = login_of({"uri": f"{server.url()}{asked}".encode(), "ca.crt": authority})
    async with connected(login) as connection:
        encrypted: bool = await connection.fetchval(str(IN_USE))
        return encrypted


async def test_the_operators_login_is_reached_as_its_secret_asks(
    postgres_with_tls: PostgresServer, postgres_of_another_name: PostgresServer, postgres: PostgresServer, bundle: Path
) -> None:
    authority = bundle.read_bytes()
    assert await _operator_uses_tls(postgres_with_tls)
    assert await _operator_uses_tls(postgres_with_tls, "?sslmode=verify-full", authority)
    assert await _operator_uses_tls(postgres_of_another_name, "?sslmode=require")
    assert not await _operator_uses_tls(postgres)
    for server, asked, known, said in [
        (postgres, "?sslmode=require", b"", "offers no TLS"),
        (postgres_with_tls, "?sslmode=verify-full", b"", "isn't trusted .*put the CA"),
        (postgres_with_tls, "?sslmode=verify-ca", b"", "isn't trusted"),
        (postgres_of_another_name, "?sslmode=require", authority, "isn't trusted .*mismatch"),
    ]:
        with pytest.raises(TroubleError, match=said):
            await _operator_uses_tls(server, asked, known)


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("by_url", [True, False])
def test_a_ca_bundle_that_can_not_be_used_ends_the_start_with_a_sentence(
    tmp_path: Path, content: str | None, *, by_url: bool
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    url = "postgresql://me:hush@127.0.0.1:1/x?sslmode=verify-full" + (f"&sslrootcert={path}" if by_url else "")
    settings = Settings(database_url=url, database_ca_file=None if by_url else path)  # type: ignore[arg-type]
    with pytest.raises(LoginError, match=r"CA bundle of the database .*ca\.pem"):
        Database(settings, login_from_settings(settings))
