"""Notes have no body any more."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
kind = "contract"


def upgrade() -> None:
    op.drop_column("notes", "body")
