"""Indexes for what is looked for by age: sessions by their sign-in, refresh tokens by their use."""

from __future__ import annotations

from sqlalchemy import text

from slipway.migrations.operations import create_index_concurrently

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    create_index_concurrently("sessions_created_at_idx", "sessions", ["created_at"])
    # An unused token goes with its session.
    create_index_concurrently(
        "refresh_tokens_used_at_idx", "refresh_tokens", ["used_at"], postgresql_where=text("used_at IS NOT NULL")
    )
