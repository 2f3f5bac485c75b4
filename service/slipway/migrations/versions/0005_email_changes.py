"""Addresses that users asked for and haven't confirmed."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE email_changes (
        user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
        email text NOT NULL CHECK (char_length(email) <= 254),
        email_before text NOT NULL,
        token_hashes bytea[] NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX email_changes_token_hashes_idx ON email_changes USING gin (token_hashes)",
    "CREATE INDEX email_changes_expires_at_idx ON email_changes (expires_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
