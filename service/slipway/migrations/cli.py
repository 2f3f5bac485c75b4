"""`slipway db …`: thin commands; what they do is in the modules beside this one."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable

import click

from slipway.migrations import inspection, runner
from slipway.migrations.errors import DATABASE_ERRORS, MigrationError, describe
from slipway.migrations.plan import Phase
from slipway.migrations.wait import wait_for_schema
from slipway.settings import Settings, SettingsError, load_settings
from slipway.storage.login import LoginError

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as a shell would give it."""


@click.group("db")
def db() -> None:
    """The database's schema: bring it up, wait for it, look at it."""


@db.command()
@click.option("--phase", type=click.Choice(["all", "expand"]), default="all", show_default=True,
              help="`expand` leaves trailing contracts, which break earlier releases, for later.")  # fmt: skip
@click.option("--target", default="head", show_default=True, help="Revision to stop at.")
@click.option("--lock-timeout", type=float, help="Longest wait for a table's lock, seconds; then it backs off.")
@click.option("--statement-timeout", type=float, help="Longest run of one statement, seconds.")
@click.option("--budget", type=float, help="Longest run altogether, seconds; waiting for other runners counts.")
@click.option("--patience", type=click.FloatRange(0, 3600), default=0, show_default=True,
              help="Longest wait for a database that isn't up yet, seconds.")  # fmt: skip
def upgrade(
    phase: Phase,
    target: str,
    lock_timeout: float | None,
    statement_timeout: float | None,
    budget: float | None,
    patience: float,
) -> None:
    """Run what is missing, revision by revision. Log in as the schema's owner."""
    limits = {
        "migration_lock_timeout": lock_timeout,
        "migration_statement_timeout": statement_timeout,
        "migration_budget": budget,
    }

    async def run(settings: Settings) -> None:
        outcome = await runner.upgrade(settings, target=target, phase=phase, patience=patience, report=click.echo)
        if not outcome.applied:
            click.echo("Nothing to do.")
        if outcome.held_back:
            click.echo(f"Left for later: {', '.join(outcome.held_back)}.")

    _run(run, **{name: value for name, value in limits.items() if value is not None})


@db.command()
@click.option("--timeout", type=click.FloatRange(min=0), help="Give up after this many seconds; without it, never.")
def wait(timeout: float | None) -> None:
    """Wait until the schema has what this release needs. Fails when a later release's contract broke it."""

    async def run(settings: Settings) -> None:
        verdict = await wait_for_schema(settings, limit=timeout, report=click.echo)
        click.echo(verdict.sentence)

    _run(run)


@db.command()
def current() -> None:
    """Show where the database is, and what this release makes of it."""

    async def run(settings: Settings) -> None:
        seen = await inspection.inspect(settings)
        for name, value in (
            ("current", ", ".join(seen.heads) or "nothing yet"),
            ("head", seen.chain.head or "-"),
            ("needs", seen.chain.needs or "-"),
            ("gate", f"{seen.verdict.state}: {seen.verdict.sentence}"),
        ):
            click.echo(f"{name:<9}{value}")
        for row in seen.rows or ():
            click.echo(f"ledger   {row.revision}  {row.kind}  {'applied' if row.applied else 'announced'}")

    _run(run)


@db.command()
@click.option("--phase", type=click.Choice(["all", "expand"]), default="all", show_default=True)
@click.option("--target", default="head", show_default=True, help="Revision to stop at.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def plan(phase: Phase, target: str, *, as_json: bool) -> None:
    """Show the revisions and the SQL that an upgrade would run; runs nothing."""

    async def run(settings: Settings) -> None:
        planned = await inspection.plan(settings, target=target, phase=phase)
        document = inspection.as_document(planned)
        click.echo(json.dumps(document, indent=2) if as_json else inspection.as_text(planned))

    _run(run)


@db.command()
@click.argument("revision")
def stamp(revision: str) -> None:
    """Say that the schema is at REVISION (`head`, `base` or an id), running nothing. Check that it's true first."""

    async def run(settings: Settings) -> None:
        await runner.stamp(settings, revision, report=click.echo)
        click.echo(f"The database is said to be at {revision}.")

    _run(run)


def _run(command: Callable[[Settings], Awaitable[None]], **changes: object) -> None:
    """Run a command with settings from the environment; what it raises becomes one line and exit code 1."""
    try:
        asyncio.run(_until_terminated(command(load_settings(**changes))))
    except (MigrationError, SettingsError, LoginError) as error:
        raise click.ClickException(str(error)) from None
    except DATABASE_ERRORS as error:
        raise click.ClickException(f"The database: {describe(error)}.") from None
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED) from None


async def _until_terminated(work: Awaitable[None]) -> None:
    """SIGTERM rolls back and ends; without a handler, the first process of a container wouldn't even notice it."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task
