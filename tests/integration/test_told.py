"""What whoever runs a process is told of its database, its Redis, its start and its mail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import OperationalError

from integration.conftest import PASSWORD, Person
from integration.form import enter
from integration.sql import run_sql
from servers.redis import RedisServer
from servers.staging import staged
from servers.told import counted, records, said
from servers.waiting import until
from slipway import readiness
from slipway.auth.passwords import PasswordHasher
from slipway.edge.drain import DrainState
from slipway.mail.mailer import NoMailer, SmtpMailer, TerminalMailer, mailer_for
from slipway.readiness import Startup
from slipway.redis.gateway import AWAY, RedisGateway
from slipway.resources import Resources, open_resources
from slipway.settings import Settings
from slipway.storage import engine
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.unit import Transaction
from slipway.telemetry.registry import REGISTRY

ACT = Action("tests", "act")


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "slipway"):
        yield


def value(sample: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(sample, labels)


async def test_a_redis_that_goes_and_comes_back_is_told_once_each(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = RedisGateway(Settings(redis_url=redis_server.url, redis_timeout=0.5))  # type: ignore[arg-type]
    await gateway.start()
    try:
        with counted("slipway_redis_duration_seconds_count"):
            assert await gateway.call(lambda redis: redis.set("key", b"1"), "set")
        redis_server.stop()
        for _ in range(3):
            assert await gateway.call(lambda redis: redis.get("key"), "get") is AWAY
        assert value("slipway_degraded", dependency="redis") == 1
        redis_server.start()
        await until(lambda: gateway.available)
        assert value("slipway_degraded", dependency="redis") == 0
    finally:
        await gateway.close()
    assert said(caplog, "slipway.redis") == [
        ("WARNING", "Redis is away; working without it."),
        ("INFO", "Redis is back."),
    ]
    assert "Error" in records(caplog, "slipway.redis")[0].__dict__["error"]


async def test_a_key_that_holds_something_else_and_a_probe_that_fails_by_itself_are_errors(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = RedisGateway(Settings(redis_url=redis_server.url, redis_timeout=0.5))  # type: ignore[arg-type]
    tried = 0

    async def deliver(_: Redis) -> bool:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise KeyError("bug")
        return False

    gateway.before_return(deliver)
    await gateway.start()
    try:
        await gateway.call(lambda redis: redis.rpush("key", "x"), "push")
        assert await gateway.call(lambda redis: redis.incr("key"), "incr") is AWAY
        assert said(caplog, "slipway.redis") == [("ERROR", "A key of ours in Redis holds something else.")]
        caplog.clear()
        redis_server.stop()
        await gateway.call(lambda redis: redis.get("key"), "get")
        redis_server.start()
        await until(lambda: gateway.available)
    finally:
        await gateway.close()
    lines = [("ERROR", "The probe of Redis failed for a reason of its own."), ("INFO", "Redis is back.")]
    assert said(caplog, "slipway.redis")[1:] == lines
    assert records(caplog, "slipway.redis")[1].exc_info is not None


async def test_an_act_that_fails_after_the_commit_is_an_error_and_the_others_are_done(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    async def work(transaction: Transaction) -> str:
        await transaction.begin()
        assert done == []
        return "done"

    async def act(result: str) -> None:
        done.append(result)
        raise KeyError("bug")

    assert await db.unit(ACT, work, then=act) == "done"
    assert done == ["done"]
    assert said(caplog, engine.logger.name) == [("ERROR", "An act after commit failed")]
    assert records(caplog, engine.logger.name)[0].exc_info is not None

    async def fail(transaction: Transaction) -> str:
        await transaction.begin()
        raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        await db.unit(ACT, fail, then=act)
    assert done == ["done"], "nothing follows a transaction that was rolled back"


async def test_the_pool_tells_who_has_its_connections_and_who_waits(app_settings: Settings) -> None:
    small = app_settings.with_changes(database_pool_size=1, database_max_overflow=1)
    async with open_resources(small) as resources:
        async with staged(resources.database) as one, staged(resources.database) as other:
            await one.connection()
            await other.connection()
            assert value("slipway_pool_size") == 2
            assert value("slipway_pool_connections", state="in_use") == 2
            assert value("slipway_pool_connections", state="idle") == 0
            assert value("slipway_pool_waiting") == 0
            waiting = asyncio.create_task(resources.database.fetch_row("SELECT 1"))
            await until(lambda: value("slipway_pool_waiting") == 1)
        await waiting
        assert value("slipway_pool_connections", state="in_use") == 0
        assert value("slipway_pool_connections", state="idle") == 2


async def test_a_hash_that_can_not_be_renewed_is_a_warning_and_the_sign_in_is_done(
    anonymous: httpx.AsyncClient,
    user: Person,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = PasswordHasher(resources.settings.with_changes(password_iterations=2))
    stored = await old.hash(PASSWORD)
    old.close()
    await run_sql(resources, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=stored, id=user.id)

    async def fail(_: str) -> str:
        raise OperationalError("UPDATE hush", {}, Exception("hush"))

    monkeypatch.setattr(resources.passwords, "rehash", fail)
    assert (await enter(anonymous, user.email)).status_code == 200
    lines = records(caplog, "slipway.sessions")
    assert [(record.levelname, record.message) for record in lines] == [
        ("WARNING", "A password's hash was not renewed.")
    ]
    assert lines[0].__dict__["error"] == "OperationalError"
    assert "hush" not in caplog.text


async def test_being_ready_is_a_line_and_so_is_the_first_administrator(
    resources: Resources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "admin"
    folder.mkdir()
    (folder / "email").write_text("root@example.com")
    (folder / "password").write_text(PASSWORD)
    told = replace(resources, settings=resources.settings.with_changes(admin_credentials_dir=folder))
    for expected in (["The first administrator was created.", "Ready."], ["Ready."]):
        caplog.clear()
        looked = Startup(told, DrainState())
        assert [check.ok for check in looked.checks()] == [True, False]
        async with looked.looking():
            await asyncio.wait_for(looked.done.wait(), 5)
        assert said(caplog, readiness.logger.name) == [("INFO", message) for message in expected]
        assert [(check.name, check.ok) for check in looked.checks()] == [("traffic", True), ("schema", True)]
    assert PASSWORD not in caplog.text


async def test_without_a_mail_server_a_developer_reads_the_mail_and_the_log_says_why(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    message = EmailMessage()
    message["Subject"] = "Welcome"
    message.set_content("The link: hush\n")
    mailer = mailer_for(Settings())
    assert isinstance(mailer, TerminalMailer)
    await mailer.send(message, "ada@example.com")
    assert capsys.readouterr().err == "--- mail to ada@example.com: Welcome\nThe link: hush\n---\n"
    assert said(caplog, "slipway.mail") == [("INFO", "mail shown on standard error; set SLIPWAY_SMTP_URL to send it")]
    assert "hush" not in caplog.text
    assert isinstance(mailer_for(Settings(environment="production")), NoMailer)
    assert isinstance(mailer_for(Settings(smtp_url="smtp://mail")), SmtpMailer)  # type: ignore[arg-type]
