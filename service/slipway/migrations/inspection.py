"""Where a database is, and what an upgrade would do to it; nothing here changes anything."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from slipway.migrations import ledger
from slipway.migrations.announcements import foreign, is_open
from slipway.migrations.gate import GateVerdict, decide_gate
from slipway.migrations.ledger import LedgerRow
from slipway.migrations.offline import RevisionSql, render
from slipway.migrations.plan import Phase, Steps, decide_steps
from slipway.migrations.progress import Listen, Progress, Report, unheard
from slipway.migrations.script import VERSIONS, Chain, read_chain
from slipway.migrations.session import connect, connect_within
from slipway.settings import Settings

_log = logging.getLogger("slipway.migrations")


@dataclass(frozen=True, slots=True)
class Inspection:
    """The image's revisions, Alembic's table, the ledger (None: none readable), and the gate's verdict on them."""

    chain: Chain
    heads: tuple[str, ...]
    rows: tuple[LedgerRow, ...] | None
    verdict: GateVerdict


@dataclass(frozen=True, slots=True)
class Place:
    """Which database it is: the cluster's system identifier, or what stands in for it, and the database's name."""

    system: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade would run from `current` on. It is partial when some revision's SQL can't be told beforehand.

    `announced`: contracts that were announced and never ran; `foreign`: those of them that this image doesn't know.
    """

    current: tuple[str, ...]
    target: str | None
    steps: Steps
    sql: tuple[RevisionSql, ...]
    place: Place
    announced: frozenset[str]
    foreign: tuple[str, ...]

    @property
    def untold(self) -> tuple[RevisionSql, ...]:
        return tuple(part for part in self.sql if part.sql is None)


async def inspect(settings: Settings, versions: Path = VERSIONS) -> Inspection:
    """Read the database with the login of the settings; raises what `DATABASE_ERRORS` lists, or MigrationError."""
    chain = read_chain(versions)
    connection = await connect(
        settings, application_name="slipway db current", command_timeout=settings.database_connect_timeout
    )
    try:
        heads, rows = await ledger.read_heads(connection), await ledger.read_rows(connection)
    finally:
        connection.terminate()
    return Inspection(chain, heads, rows, decide_gate(chain, rows))


async def plan(
    settings: Settings,
    *,
    target: str = "head",
    phase: Phase = "all",
    patience: float = 0.0,
    versions: Path = VERSIONS,
    report: Report = _log.info,
    listen: Listen = unheard,
) -> Plan:
    """What `upgrade` with the same arguments would do now. Raises as `inspect` does."""
    chain = read_chain(versions)
    connection = await connect_within(
        settings, patience, Progress(report, listen), command_timeout=settings.database_connect_timeout,
        application_name="slipway db plan",
    )  # fmt: skip
    try:
        heads, rows = await ledger.read_heads(connection), await ledger.read_rows(connection) or ()
        place = await _place(connection)
    finally:
        connection.terminate()
    steps = decide_steps(chain, heads, rows, target=target, phase=phase)
    return Plan(
        current=heads,
        target=chain.head if target == "head" else target,
        steps=steps,
        sql=render(steps.run, versions),
        place=place,
        announced=frozenset(row.revision for row in rows if is_open(row)),
        foreign=foreign(chain, heads, rows),
    )


async def _place(connection: asyncpg.Connection) -> Place:
    try:
        system = await connection.fetchval("SELECT system_identifier::text FROM pg_control_system()")
    except asyncpg.InsufficientPrivilegeError:
        # Some providers keep it to themselves. The object id tells databases of one name apart, if not for certain.
        system = await connection.fetchval("SELECT 'oid-' || oid FROM pg_database WHERE datname = current_database()")
    return Place(system, await connection.fetchval("SELECT current_database()"))


def as_document(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "current": list(plan.current),
        "target": plan.target,
        "partial": bool(plan.untold),
        "revisions": [
            {"id": part.revision.id, "kind": part.revision.kind, "message": part.revision.message, "sql": part.sql}
            for part in plan.sql
        ],
        "held_back": [revision.id for revision in plan.steps.held_back],
        "sql": "\n\n".join(part.sql for part in plan.sql if part.sql is not None),
    }


def as_text(plan: Plan) -> str:
    """The plan for people: SQL, with the rest as comments."""
    lines = [f"-- from {', '.join(plan.current) or 'an empty database'} to {plan.target or 'nothing'}"]
    for part in plan.sql:
        lines += ["", f"-- {part.revision.id}  {part.revision.kind}  {part.revision.message}"]
        lines.append(part.sql or f"-- PARTIAL: this revision reads the database, its SQL can't be told ({part.fault}).")
    if not plan.sql:
        lines.append("-- nothing to do")
    if plan.steps.held_back:
        lines.append(f"-- left for later: {', '.join(revision.id for revision in plan.steps.held_back)}")
    return "\n".join(lines)
