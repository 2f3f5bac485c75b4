"""What an upgrade would run, as SQL, made without running anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from slipway.migrations.configuration import configuration
from slipway.migrations.errors import MigrationError
from slipway.migrations.script import VERSIONS, Revision


@dataclass(frozen=True, slots=True)
class RevisionSql:
    """The SQL of one revision. None, with the fault's name, when it reads the database and so can't be told."""

    revision: Revision
    sql: str | None
    fault: str | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the SQL, in hex."""
        return None if self.sql is None else hashlib.sha256(self.sql.encode()).hexdigest()


def render(revisions: Sequence[Revision], versions: Path = VERSIONS) -> tuple[RevisionSql, ...]:
    """The SQL of each revision with its transaction's brackets; the ledger's rows are the runner's and not shown."""
    return tuple(_render_twice(revision, versions) for revision in revisions)


def refuse_changed(revisions: Sequence[Revision], expected: Mapping[str, str], versions: Path = VERSIONS) -> None:
    """Raise MigrationError when a revision's SQL isn't `expected` (id → SHA-256 in hex); nothing expected: no check.

    One whose SQL can't be told is never expected, and passes unless its SQL could be told before.
    """
    for part in render(revisions, versions) if expected else ():
        if part.digest != expected.get(part.revision.id):
            raise MigrationError(
                f"Revision {part.revision.id} isn't what was planned: its SQL is another, or it wasn't there. "
                "Look at a new plan, and approve that.",
                reason="PlanChanged",
            )


def _render_twice(revision: Revision, versions: Path) -> RevisionSql:
    """SQL that holds random numbers, or the time, is another each time: it can't be told beforehand either."""
    first, second = _render_one(revision, versions), _render_one(revision, versions)
    return first if first == second else RevisionSql(revision, None, "its SQL is another each time")


def _render_one(revision: Revision, versions: Path) -> RevisionSql:
    written = StringIO()
    config = configuration(versions)
    config.output_buffer = written
    script = ScriptDirectory.from_config(config)
    context = EnvironmentContext(
        config,
        script,
        fn=lambda heads, _context: script._upgrade_revs(revision.id, heads),  # noqa: SLF001 - as Alembic's own command
        as_sql=True,
        starting_rev=",".join(revision.parents) or None,
        destination_rev=revision.id,
    )
    try:
        with context:
            script.run_env()
    except Exception as error:  # noqa: BLE001 - a revision's own code; whatever it stumbles on, there is no SQL to show
        return RevisionSql(revision, None, type(error).__name__)
    return RevisionSql(revision, written.getvalue().strip())
