"""The way to Redis: TLS that verifies, and a password that nobody gets to read."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from servers.redis import RedisServer
from servers.waiting import free_port, until
from slipway.redis.gateway import AWAY, RedisGateway, RedisSettingsError
from slipway.settings import Settings
from slipway.telemetry import spans

PASSWORD = "correct horse battery staple / # ?"
QUOTED = "correct%20horse%20battery%20staple%20%2F%20%23%20%3F"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA, tmp_path: Path) -> Iterator[tuple[RedisServer, int]]:
    """A server that speaks TLS and calls itself localhost (not 127.0.0.1)."""
    certificate = authority.issue_cert("localhost")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    port = free_port()
    server = RedisServer(
        "--tls-port", str(port), "--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-auth-clients", "no"
    )
    server.start()
    yield server, port
    server.stop()


@pytest.fixture
def tls_port(tls_server: tuple[RedisServer, int]) -> int:
    return tls_server[1]


async def reaches(url: str, ca_file: Path) -> bool:
    settings = Settings(redis_url=url, redis_ca_file=ca_file, redis_timeout=2)
    gateway = RedisGateway(settings)
    await gateway.start()
    try:
        return await gateway.call(lambda redis: redis.echo("hello"), "echo") == b"hello"
    finally:
        await gateway.close()


def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def test_tls_reaches_a_server_of_the_given_authority(
    authority: trustme.CA, tls_port: int, tmp_path: Path
) -> None:
    assert await reaches(f"rediss://localhost:{tls_port}/0", bundle(authority, tmp_path))


async def test_tls_refuses_another_authority(tls_port: int, tmp_path: Path) -> None:
    assert not await reaches(f"rediss://localhost:{tls_port}/0", bundle(trustme.CA(), tmp_path))


async def test_tls_refuses_another_host_name(authority: trustme.CA, tls_port: int, tmp_path: Path) -> None:
    assert not await reaches(f"rediss://127.0.0.1:{tls_port}/0", bundle(authority, tmp_path))


async def test_without_verification_both_would_be_reached(
    tls_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax = ssl.create_default_context()
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: lax)
    assert await reaches(f"rediss://localhost:{tls_port}/0", bundle(trustme.CA(), tmp_path))
    assert await reaches(f"rediss://127.0.0.1:{tls_port}/0", bundle(trustme.CA(), tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush@host:6379/0?ssl_cert_reqs=none",
        "rediss://:hush@host/0?ssl_check_hostname=no",
        "redis://:hush/hush@host:6379/0",
        "redis://:hush@host:hush/0",
        "redis://:hush@host:6379/hush",
        "http://:hush@host:6379/0",
        "redis://:hush@/0",
    ],
)
def test_a_url_that_can_not_be_used_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(RedisSettingsError) as refusal:
        RedisGateway(Settings(redis_url=url))
    assert "hush" not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_can_not_be_used_ends_the_start_with_a_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RedisSettingsError, match="SLIPWAY_REDIS_CA_FILE"):
        RedisGateway(Settings(redis_url="rediss://host", redis_ca_file=path))


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("test"))
    with provider.get_tracer("test").start_as_current_span("request"):
        yield exporter
    provider.shutdown()


def everything_in(records: list[logging.LogRecord], finished: tuple[ReadableSpan, ...], gateway: RedisGateway) -> str:
    said = [repr(record.__dict__) for record in records]
    said += [span.to_json() for span in finished]
    said += [repr(gateway), repr(gateway._client), repr(gateway._client.connection_pool)]  # type: ignore[union-attr]  # noqa: SLF001
    return "\n".join(said)


NO_AUTH = ["--rename-command", "AUTH", "NOPE"]
"""A server without AUTH answers "unknown command" and quotes what it was sent."""


@pytest.mark.parametrize(
    ("options", "reached"),
    [(["--requirepass", PASSWORD], True), (["--requirepass", "another"], False), (NO_AUTH, False)],
)
async def test_the_password_is_in_no_log_span_or_repr(
    options: list[str], *, reached: bool, caplog: pytest.LogCaptureFixture, exported: InMemorySpanExporter
) -> None:
    server = RedisServer(*options)
    server.start()
    url = server.url.replace("://", f"://:{QUOTED}@")
    gateway = RedisGateway(Settings(redis_url=url, redis_timeout=1))
    try:
        with caplog.at_level(logging.DEBUG):
            await gateway.start()
            assert gateway.available is reached
            gateway.available = True  # a call meets the refusal, not only the probe
            answer = await gateway.call(lambda redis: redis.echo("hello"), "echo")
            assert (answer is not AWAY) is reached
            await until(exported.get_finished_spans)
    finally:
        await gateway.close()
        server.stop()
    said = everything_in(caplog.records, exported.get_finished_spans(), gateway)
    assert "correct horse" not in said
    assert "correct%20horse" not in said
    assert "redis echo" in said


async def test_the_log_says_why_a_certificate_was_refused(
    tls_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await reaches(f"rediss://localhost:{tls_port}/0", bundle(trustme.CA(), tmp_path))
    assert any("CERTIFICATE_VERIFY_FAILED" in getattr(record, "error", "") for record in caplog.records)


async def test_the_words_of_the_server_would_give_it_away() -> None:
    server = RedisServer(*NO_AUTH)
    server.start()
    try:
        async with Redis(port=server.port, password=PASSWORD, protocol=2) as redis:
            with pytest.raises(RedisError, match="correct horse"):
                await redis.ping()
    finally:
        server.stop()


async def test_a_tls_server_that_falls_silent_is_left_without_waiting(
    authority: trustme.CA, tls_server: tuple[RedisServer, int], tmp_path: Path
) -> None:
    server, port = tls_server
    settings = Settings(
        redis_url=f"rediss://localhost:{port}/0",
        redis_ca_file=bundle(authority, tmp_path),
        redis_timeout=0.5,
    )
    gateway = RedisGateway(settings)
    await gateway.start()
    assert gateway.available
    server.pause()
    assert await gateway.call(lambda redis: redis.ping(), "ping") is AWAY
    server.resume()
    await until(lambda: gateway.available)
    server.pause()
    await gateway.close()
