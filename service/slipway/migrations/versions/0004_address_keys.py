"""A key for one address, and the addresses that have none.

The first is named so that an earlier release, which changes an address back to one whose key is somebody else's by now,
takes it for the conflict that it is.
"""

from __future__ import annotations

from sqlalchemy import text

from slipway.migrations.operations import create_index_concurrently

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_index_concurrently(
        "users_email_key_key", "users", ["email_key"], unique=True, postgresql_where=text("email_keyed = email")
    )
    create_index_concurrently(
        "users_unkeyed_idx", "users", ["id"], postgresql_where=text("email_keyed IS DISTINCT FROM email")
    )
