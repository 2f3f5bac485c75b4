"""Items lose body: every release that is left reads and writes content."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from alembic import op

revision = "drop_body"
down_revision = None
kind = "contract"

STATEMENTS = (
    "DROP TRIGGER items_in_step ON items",
    "DROP FUNCTION items_in_step()",
    "ALTER TABLE items ALTER COLUMN search SET EXPRESSION AS (to_tsvector('simple', title || ' ' || content))",
    "ALTER TABLE items DROP COLUMN body",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
