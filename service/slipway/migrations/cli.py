"""`slipway db …`: thin commands; what they do is in the modules beside this one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import click

from slipway.migrations import announcements, inspection, marked, runner
from slipway.migrations.ending import run_command
from slipway.migrations.errors import MigrationError
from slipway.migrations.plan import Phase
from slipway.migrations.progress import Listen, unheard
from slipway.migrations.wait import wait_for_schema
from slipway.output import tell
from slipway.settings import Settings


@click.group("db")
def db() -> None:
    """The database's schema: bring it up, wait for it, look at it."""


_phase = click.option("--phase", type=click.Choice(["all", "expand"]), default="all", show_default=True,
                      help="`expand` leaves trailing contracts, which break earlier releases, for later.")  # fmt: skip
_target = click.option("--target", default="head", show_default=True, help="Revision to stop at.")
_patience = click.option("--patience", type=click.FloatRange(0, 3600), default=0, show_default=True,
                         help="Longest wait for a database that isn't up yet, seconds.")  # fmt: skip
_marked = click.option("--marked", "is_marked", is_flag=True, help="Write marked lines, for the operator to read.")


def _expected(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    matches = [re.fullmatch(r"(.+):([0-9a-f]{64})", value) for value in values]
    if not all(matches):
        raise click.BadParameter("write REVISION:SHA256, with the 64 hexadecimal digits that `plan` told.")
    return dict(match.groups() for match in matches if match)  # type: ignore[misc]


@db.command()
@_phase
@_target
@click.option("--lock-timeout", type=float, help="Longest wait for a table's lock, seconds; then it backs off.")
@click.option("--statement-timeout", type=float, help="Longest run of one statement, seconds.")
@click.option("--budget", type=float, help="Longest run altogether, seconds; waiting for other runners counts.")
@_patience
@click.option("--expect", "expected", multiple=True, callback=_expected, metavar="REVISION:SHA256",
              help="Run this only if its SQL has this digest; once given, nothing else is run.")  # fmt: skip
@_marked
def upgrade(
    phase: Phase,
    target: str,
    lock_timeout: float | None,
    statement_timeout: float | None,
    budget: float | None,
    patience: float,
    expected: dict[str, str],
    *,
    is_marked: bool,
) -> None:
    """Run what is missing, revision by revision. Log in as the schema's owner."""
    limits = {
        "migration_lock_timeout": lock_timeout,
        "migration_statement_timeout": statement_timeout,
        "migration_budget": budget,
    }

    async def run(settings: Settings) -> None:
        # The operator looked at pods before it sent this; a person who says `all` has decided for themselves.
        fenced: Phase = "announced" if is_marked and phase == "all" else phase
        outcome = await runner.upgrade(
            settings, target=target, phase=fenced, expected=expected, patience=patience, report=tell,
            listen=_listen(is_marked=is_marked),
        )  # fmt: skip
        if not outcome.applied:
            tell("Nothing to do.")
        if outcome.held_back:
            tell(f"Left for later: {', '.join(outcome.held_back)}.")
        if is_marked:
            tell(marked.done_line(outcome))

    run_command(run, marked=is_marked, **{name: value for name, value in limits.items() if value is not None})


@db.command()
@_patience
@_marked
def announce(patience: float, *, is_marked: bool) -> None:
    """Announce this release's contracts that are still to run: pods that they break don't start any more."""

    async def run(settings: Settings) -> None:
        outcome = await announcements.announce(
            settings, patience=patience, report=tell, listen=_listen(is_marked=is_marked)
        )
        tell(f"Announced: {', '.join(outcome.held_back) or 'nothing'}.")
        if is_marked:
            tell(marked.done_line(outcome))

    run_command(run, marked=is_marked)


@db.command()
@click.argument("revision", required=False)
@_patience
@_marked
def withdraw(revision: str | None, patience: float, *, is_marked: bool) -> None:
    """Take back announced contracts that never ran: those of other releases, or REVISION, whosever it is."""

    async def run(settings: Settings) -> None:
        taken_back, outcome = await announcements.withdraw(
            settings, revision, patience=patience, report=tell, listen=_listen(is_marked=is_marked)
        )
        tell(f"Taken back: {', '.join(taken_back) or 'nothing'}.")
        if is_marked:
            tell(marked.done_line(outcome))

    run_command(run, marked=is_marked)


@db.command()
@click.option("--timeout", type=click.FloatRange(min=0), help="Give up after this many seconds; without it, never.")
def wait(timeout: float | None) -> None:
    """Wait until the schema has what this release needs. Fails when a later release's contract broke it."""

    async def run(settings: Settings) -> None:
        verdict = await wait_for_schema(settings, limit=timeout, report=tell)
        tell(verdict.sentence)

    run_command(run)


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
            tell(f"{name:<9}{value}")
        for row in seen.rows or ():
            tell(f"ledger   {row.revision}  {row.kind}  {'applied' if row.applied else 'announced'}")

    run_command(run)


@db.command()
@_phase
@_target
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
@_patience
@_marked
@click.option("--literals", is_flag=True, help="With --marked: show the strings of data statements too.")
def plan(phase: Phase, target: str, patience: float, *, as_json: bool, is_marked: bool, literals: bool) -> None:
    """Show the revisions and the SQL that an upgrade would run; runs nothing."""

    async def run(settings: Settings) -> None:
        # For people, waiting is told beside the plan, which is a document of its own.
        report = tell if is_marked else lambda line: click.echo(line, err=True)
        planned = await inspection.plan(
            settings, target=target, phase=phase, patience=patience, report=report, listen=_listen(is_marked=is_marked)
        )
        if is_marked:
            for line in _plan_lines(planned, literals=literals):
                tell(line)
        elif as_json:
            tell(json.dumps(inspection.as_document(planned), indent=2))
        else:
            tell(inspection.as_text(planned))

    run_command(run, marked=is_marked)


def _plan_lines(planned: inspection.Plan, *, literals: bool) -> list[str]:
    try:
        return marked.plan_lines(marked.plan_document(planned, literals=literals))
    except ValueError as error:
        raise MigrationError(str(error)) from None


@db.command()
@click.argument("revision")
def stamp(revision: str) -> None:
    """Say that the schema is at REVISION (`head`, `base` or an id), running nothing. Check that it's true first."""

    async def run(settings: Settings) -> None:
        await runner.stamp(settings, revision, report=tell)
        tell(f"The database is said to be at {revision}.")

    run_command(run)


def _listen(*, is_marked: bool) -> Listen:
    return marked.listener(tell) if is_marked else unheard
