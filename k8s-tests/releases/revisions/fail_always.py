"""A statement that PostgreSQL refuses each time."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from alembic import op

revision = "fail_always"
down_revision = None


def upgrade() -> None:
    op.execute("SELECT 1 / 0")
