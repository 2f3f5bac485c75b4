"""`slipway db revision`: writes a revision that brings the schema to what the models say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData

import slipway.domains  # noqa: F401 - every domain's models are in the metadata then
from slipway.migrations.errors import MigrationError
from slipway.migrations.inspection import inspect
from slipway.migrations.progress import Progress, unheard
from slipway.migrations.script import VERSIONS, Kind
from slipway.migrations.session import open_session
from slipway.settings import Settings
from slipway.storage.models import Base

LONGEST_NAME = 40
"""Of a file, without its number."""
ADDED = (
    ops.CreateTableOp,
    ops.AddColumnOp,
    ops.CreateIndexOp,
    ops.CreateUniqueConstraintOp,
    ops.CreateForeignKeyOp,
)
_IN_USE = "# Of a table in use: create_index_concurrently (migrations/operations.py), in a revision of its own."
_EMPTY = "pass  # the models ask for nothing: write what is to be done"


async def write_revision(
    settings: Settings, message: str, kind: Kind, versions: Path = VERSIONS, metadata: MetaData = Base.metadata
) -> Path:
    """The file that was written, after the last revision. Log in as the schema's owner.

    Raises MigrationError where the database isn't at this image's head or the file can't be written, and what
    `inspect` raises.
    """
    seen = await inspect(settings, versions)
    head = seen.chain.head
    if set(seen.heads) != ({head} if head else set()):
        raise MigrationError(
            f"The database is at {', '.join(seen.heads) or 'nothing'}, the revisions end with {head}: "
            "bring it up with `slipway db upgrade`, then write the next one.",
        )
    async with open_session(settings, 0.0, Progress(lambda _: None, unheard)) as session:
        code = await session.sqlalchemy.run_sync(generated, metadata)
    number = len(seen.chain.revisions) + 1
    path = versions / f"{number:04}_{slug(message)}.py"
    text = revision_text(message, kind, f"{number:04}", head, code or _EMPTY)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MigrationError(f"{path} can't be written: {error.strerror}.") from None
    return path


def generated(connection: Connection, metadata: MetaData) -> str:
    """Statements for what `metadata` has and the database lacks; empty where it lacks nothing.

    What only the database has is left alone: indexes and checks are written in SQL there, and dropping a table or a
    column is a contract, which a person writes.
    """
    context = MigrationContext.configure(connection)
    script = produce_migrations(context, metadata)
    assert script.upgrade_ops is not None  # noqa: S101 - Alembic makes it
    additions = list(_additions(script.upgrade_ops.ops))
    if not additions:
        return ""
    rendered = render_python_code(ops.UpgradeOps(ops=additions), migration_context=context)
    # Alembic leaves the first line where it is, indents the others, and says that it was here.
    lines = [line for line in textwrap.dedent(f"    {rendered}").splitlines() if not line.startswith("# ###")]
    return "\n".join([_IN_USE, *lines] if _index_tables_in_use(additions) else lines)


def _index_tables_in_use(additions: list[ops.MigrateOperation]) -> bool:
    """Indexes of a table that is made here are beside it; those of another are among its modifications."""
    made = {each.table_name for each in additions if isinstance(each, ops.CreateTableOp)}
    changed = [each for each in additions if isinstance(each, ops.ModifyTableOps) and each.table_name not in made]
    return any(isinstance(each, ops.CreateIndexOp) for modified in changed for each in modified.ops)


def _additions(found: list[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for each in found:
        if isinstance(each, ops.ModifyTableOps):
            kept = list(_additions(each.ops))
            if kept:
                yield ops.ModifyTableOps(each.table_name, kept, schema=each.schema)
        elif isinstance(each, ADDED):
            yield each


def slug(message: str) -> str:
    """For a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:LONGEST_NAME].rstrip("_") or "revision"


def revision_text(message: str, kind: Kind, id_: str, previous: str | None, code: str) -> str:
    """As the other revisions are written."""
    declared = [f'revision = "{id_}"', f"down_revision = {previous!r}".replace("'", '"')]
    declared += ['kind = "contract"'] if kind == "contract" else []
    sentence = message if message.endswith(".") else f"{message}."
    imported = [
        *(["import sqlalchemy as sa"] if "sa." in code else []),
        "from alembic import op",
        *(["from sqlalchemy.dialects import postgresql"] if "postgresql." in code else []),
    ]
    body = textwrap.indent(code, "    ")
    parts = [
        f'"""{sentence}"""', "from __future__ import annotations", "\n".join(imported), "\n".join(declared),
        f"\ndef upgrade() -> None:\n{body}",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"
