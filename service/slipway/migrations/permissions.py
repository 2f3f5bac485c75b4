"""Permissions that a release brings, for the users who are there already."""

from __future__ import annotations

from slipway.migrations.batched import batched

_GIVE = """
    UPDATE users SET permissions = array_append(permissions, :permission), version = version + 1, updated_at = now()
    WHERE id IN (
        SELECT id FROM users
        WHERE NOT :permission = ANY(permissions) AND (:holders_of = '' OR :holders_of = ANY(permissions))
        LIMIT :batch FOR UPDATE
    )
"""


def give_permission(permission: str, *, to_holders_of: str = "", batch: int = 1000) -> int:
    """Give a permission to all users who lack it, or to those of them who hold another; returns how many got it.

    As `batched` does it: in a revision of its own, in small transactions, and taken up again after a kill. Users whom
    pods of the release before make afterwards don't have it. Tokens that are in use aren't widened by it.
    """
    return batched(_GIVE, batch=batch, permission=permission, holders_of=to_holders_of)
