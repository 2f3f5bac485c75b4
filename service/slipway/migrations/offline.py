"""What an upgrade would run, as SQL, made without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from slipway.migrations.configuration import configuration
from slipway.migrations.script import VERSIONS, Revision


@dataclass(frozen=True, slots=True)
class RevisionSql:
    """The SQL of one revision. None, with the fault's name, when it reads the database and so can't be told."""

    revision: Revision
    sql: str | None
    fault: str | None = None


def render(revisions: Sequence[Revision], versions: Path = VERSIONS) -> tuple[RevisionSql, ...]:
    """The SQL of each revision with its transaction's brackets; the ledger's rows are the runner's and not shown."""
    return tuple(_render_one(revision, versions) for revision in revisions)


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
