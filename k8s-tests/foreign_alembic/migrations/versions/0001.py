"""Notes."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text, title text)")
    op.execute("GRANT SELECT ON notes TO PUBLIC")
