"""`slipway jobs`: look at the queue, put dead letters back, drop them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import asyncpg
import click
from sqlalchemy.exc import SQLAlchemyError

from slipway.jobs import queries
from slipway.settings import Settings
from slipway.settings.sources import SettingsError, load_settings, tell_of_unread_env_file
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings

T = TypeVar("T")

_ID = click.IntRange(1, 2**63 - 1)


@click.group("jobs")
def jobs() -> None:
    """Background jobs: look at the queue, put dead letters back."""


@jobs.command("list")
@click.option("--dead", is_flag=True, help="Only dead letters: jobs that were given up.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most lines shown.")
def show(*, dead: bool, limit: int) -> None:
    """List jobs, oldest first. What they carry isn't shown: it may be secret."""
    found = _ask(lambda database: database.read(lambda session: queries.listed(session, dead=dead, limit=limit)))
    lines = [("ID", "NAME", "STATE", "ATTEMPTS", "AGE", "LAST ERROR"), *map(_line, found)]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line[5]]).rstrip())


@jobs.command("retry")
@click.argument("ids", type=_ID, nargs=-1, metavar="ID…")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
def retry(ids: tuple[int, ...], *, everything: bool) -> None:
    """Put dead letters back into the queue, with all their attempts before them again."""
    if bool(ids) == everything:
        raise click.UsageError("Name the jobs to put back, or say --all.")
    wanted = None if everything else ids
    revived = _ask(lambda database: queries.write(database, "revive", lambda tx: queries.revive(tx, wanted)))
    click.echo(f"Put back: {', '.join(map(str, revived)) or 'none'}.")
    left = sorted(set(ids) - set(revived))
    if left:
        raise click.ClickException(
            f"Not put back: {', '.join(map(str, left))} (no dead letter, or its work is queued again already)."
        )


@jobs.command("drop")
@click.argument("job_id", type=_ID, metavar="ID")
def drop(job_id: int) -> None:
    """Delete a job that doesn't run. What it was to do won't be done."""
    dropped = _ask(lambda database: queries.write(database, "drop", lambda tx: queries.drop(tx, job_id), job_id=job_id))
    if not dropped:
        raise click.ClickException(f"There is no job {job_id} that could be dropped (running ones can't).")
    click.echo(f"Dropped: {job_id}.")


def _line(job: queries.Listed) -> tuple[str, str, str, str, str, str]:
    return str(job.id), job.name, job.state, str(job.attempts), _age(job.age), job.last_error or ""


def _age(age: timedelta) -> str:
    """The age in its largest unit: 45s, 12m, 3h, 8d."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _ask(question: Callable[[Database], Awaitable[T]]) -> T:
    """The answer to one question; faults that people can mend end with a sentence."""

    async def work() -> T:
        settings = load_settings(Settings)
        tell_of_unread_env_file(settings)
        database = Database(settings, login_from_settings(settings))
        try:
            async with asyncio.timeout(settings.request_deadline):
                return await question(database)
        finally:
            await database.close()

    try:
        return asyncio.run(work())
    except (SettingsError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except (SQLAlchemyError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise click.ClickException(f"The database can't be used: {type(error).__name__}.") from None
