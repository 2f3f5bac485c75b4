"""Items that were there before get their content."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from slipway.migrations.batched import batched

revision = "fill_content"
down_revision = None


def upgrade() -> None:
    # The trigger does it: an update of the row is enough.
    batched(
        "UPDATE items SET content = body WHERE id IN "
        "(SELECT id FROM items WHERE content IS NULL LIMIT :batch FOR UPDATE)"
    )
