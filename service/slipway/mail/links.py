"""What the mail job is handed by those who make links; apart from it, because the API sends no mail."""

from __future__ import annotations

from typing import NamedTuple


class MailedLink(NamedTuple):
    """A link with a secret in it, and the one address that it may be sent to: as its user keeps it, not as typed."""

    to: str
    link: str


class AddressTaken(NamedTuple):
    """Somebody asked for an address that is somebody else's; `to` is where its owner is told."""

    to: str
