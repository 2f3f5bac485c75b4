"""Items may have a note."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from alembic import op

revision = "add_note"
down_revision = None


def upgrade() -> None:
    op.execute("ALTER TABLE items ADD COLUMN note text")
