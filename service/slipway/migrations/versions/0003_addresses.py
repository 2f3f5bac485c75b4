"""What users' addresses are told apart by. Earlier releases write neither column; the worker fills them in."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN email_key text, ADD COLUMN email_keyed text")
