"""Nobody wrote notes."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from alembic import op

revision = "drop_note"
down_revision = None
kind = "contract"


def upgrade() -> None:
    op.execute("ALTER TABLE items DROP COLUMN note")
