"""What ends a schema command: one sentence for whoever ran it, never with a secret in it."""

from __future__ import annotations


class MigrationError(Exception):
    """The schema can't be brought or read as asked; the message says why and what to do."""
