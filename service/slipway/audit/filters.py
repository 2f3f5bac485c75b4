"""Which rows of the audit log are wanted, and the words in which people ask for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

ACTION = r"[a-z_]{1,31}\.[a-z_]{1,31}"
RESOURCE = r"[a-z_]{1,31}/([0-9]{1,19}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Filters:
    """All that a row must be; None lets every one pass. From `since` on, and before `until`."""

    actor: UUID | None = None
    action: str | None = None
    resource: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a time that no row can have."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("must be later than `since`")

    @property
    def by_index(self) -> dict[str, Any]:
        """Those columns that are looked for by value, with an index each."""
        values = {name: getattr(self, name) for name in ("actor", "action", "resource", "request_id")}
        return {name: value for name, value in values.items() if value is not None}


def action_of(text: str) -> str:
    """Raises ValueError for what no action is called."""
    if not re.fullmatch(ACTION, text):
        raise ValueError("must be a kind of thing and what was done with it, as in items.create")
    return text


def resource_of(text: str) -> str:
    """As it is stored. Raises ValueError for what no resource is called."""
    if not re.fullmatch(RESOURCE, text.lower()):
        raise ValueError("must be a kind of thing and its id, as in items/01980d5e-2c5b-7f20-8d3a-5b1f0c9e7a42")
    return text.lower()


def moment_of(text: str) -> datetime:
    """A time as RFC 3339 writes it, in UTC. Raises ValueError for any other, and for one without its zone."""
    try:
        if _MOMENT.fullmatch(text.upper()):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time with its zone, as in 2026-11-30T03:00:00Z (in an address, + is written %2B)")
