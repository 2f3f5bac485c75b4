"""`slipway run`: database, migrations, API and worker in one process, and a first login on the terminal."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

from slipway.administrators import create_first_administrator
from slipway.http.docs_pages import serves_pages
from slipway.local.embedded import APP, embedded_postgres
from slipway.migrations.runner import upgrade
from slipway.resources import Resources
from slipway.server import serve
from slipway.settings import EMAIL_CHANGE_PAGE, PASSWORD_RESET_PAGE, Settings
from slipway.telemetry.logs import LineWriter

ADMINISTRATOR = "admin@example.com"


@contextmanager
def own_or_given_database(settings: Settings) -> Iterator[tuple[Settings, Settings]]:
    """Settings for migrations and for the service; starts a database where none is configured."""
    if settings.database_url is not None or settings.database_credentials_dir is not None:
        yield settings, settings
        return
    with embedded_postgres(settings.data_dir.resolve()) as database:
        yield (
            settings.with_changes(database_url=database.owner_url, database_grant_to=APP),
            settings.with_changes(database_url=database.app_url),
        )


def run_settings(settings: Settings) -> Settings:
    """What `run` decides unless it was told: documentation is on, nobody is there to drain for, links lead here."""
    base = url_here(settings.host, settings.port)
    wanted = {
        "openapi": settings.debug or "debug" not in settings.model_fields_set,
        "drain": 0.0,
        "shutdown_timeout": 0.5,
        "issuer": base,
        "password_reset_url": base + PASSWORD_RESET_PAGE,
        "email_change_url": base + EMAIL_CHANGE_PAGE,
    }
    return settings.with_changes(**{k: v for k, v in wanted.items() if k not in settings.model_fields_set})


def url_here(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens there; what stands for all addresses is none to go to."""
    host = "127.0.0.1" if host in {"*", "0.0.0.0", "::"} else host  # noqa: S104 - it is compared with
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block in the same way, from its first moment, and quietly."""
    # A shell starts background jobs with SIGINT ignored, and then Python leaves it so: SIGTERM would be lost with it.
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminated = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Ended before it was ready.", err=True)
    finally:
        signal.signal(signal.SIGTERM, terminated)
        signal.signal(signal.SIGINT, interrupted)


async def migrate_and_serve(for_migrations: Settings, for_service: Settings, lines: LineWriter) -> None:
    await upgrade(for_migrations)
    await serve(for_service, lines, with_worker=True, ready=announce)


async def announce(resources: Resources) -> None:
    """Print where it is; and, the first time, an administrator's login, the only time it is shown."""
    settings = resources.settings
    password = secrets.token_urlsafe(15)
    created = await create_first_administrator(resources.database, resources.passwords, ADMINISTRATOR, password)
    base = url_here(settings.host, settings.port)
    documentation = f"   documentation: {base}/docs" if serves_pages(settings) else ""
    lines = ["", f"Slipway is ready:  {base}{documentation}   ops: {url_here(settings.ops_host, settings.ops_port)}"]
    if created:
        lines += ["", *first_steps(base, password)]
    click.echo("\n".join([*lines, "", "Ctrl-C ends it; the data stays.", ""]))


def first_steps(base: str, password: str) -> list[str]:
    """The first login, and commands to paste."""
    pick = """python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])'"""
    return [
        "An administrator was created; the password is shown only now:",
        f"  e-mail    {ADMINISTRATOR}",
        f"  password  {password}",
        "",
        "Try it:",
        f"  TOKEN=$(curl -s {base}/api/v1/auth/token -d username={ADMINISTRATOR} -d password={password} | {pick})",
        f'  curl -s {base}/api/v1/users/me -H "Authorization: Bearer $TOKEN"',
    ]
