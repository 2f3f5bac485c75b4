"""The row that each committed write leaves: who did what, from where, in which attempt.

It is written in the transaction of the work itself, so that one is there exactly when the other is. `attempt` is an id
of ours and its key: a later look at it tells whether that very try was committed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, DateTime, Table, Text, Uuid, bindparam, cast
from sqlalchemy.dialects.postgresql import INET

from slipway.context.request import Origin, current
from slipway.storage.models import Base, new_id

AUDIT = Table(
    "audit",
    Base.metadata,
    Column("attempt", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("action", Text),
    Column("resource", Text),
    Column("actor", Uuid),
    Column("session", Uuid),
    Column("address", INET),
    Column("request_id", Text),
    Column("at", DateTime(timezone=True), nullable=False),
)

ENTRY: Mapping[str, ColumnElement[Any]] = {
    # The driver would parse an address anew to send it; as a text PostgreSQL does that.
    column.name: cast(bindparam(f"audit_{column.name}", type_=Text), INET)
    if isinstance(column.type, INET)
    else bindparam(f"audit_{column.name}", type_=column.type)
    for column in AUDIT.c
    if column.name != "at"
}
"""What a row is made of, where it is a part of a statement; bound to `Entry.values`."""

WORK = "work"
"""`kind` of a row that stands beside its write."""

LONGEST_REQUEST_ID = 128
_PARSED = (UUID, IPv4Address, IPv6Address)
_WORD = re.compile(r"[a-z_]{1,31}")
_INSERT = "INSERT INTO audit (attempt, kind, action, resource, actor, session, address, request_id)"
TOLD = f"{_INSERT} VALUES (…)"
"""The statement as spans show it."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is done, in words of ours: `Action("items", "create")` is shown as `items.create`."""

    noun: str
    verb: str

    def __post_init__(self) -> None:
        if not (_WORD.fullmatch(self.noun) and _WORD.fullmatch(self.verb)):
            raise ValueError("An action is named by two words of small letters: its name becomes a part of SQL.")

    def __str__(self) -> str:
        return f"{self.noun}.{self.verb}"


@dataclass(slots=True)
class Entry:
    """One attempt's row. Work names the `resource`, and the `actor` where it isn't the token's (who signs in)."""

    attempt: UUID
    action: Action
    actor: UUID | None
    session: UUID | None
    address: IPv4Address | IPv6Address | None
    request_id: str | None
    resource: UUID | int | None = None

    @classmethod
    def of(cls, action: Action) -> Entry:
        """For the request, job or command that is at work here."""
        context = current.get()
        origin = Origin() if context is None else context.origin
        return cls(
            attempt=new_id(),
            action=action,
            actor=origin.actor,
            session=origin.session,
            address=None if origin.peer is None else address_of(origin.peer),
            request_id=None if context is None else context.request_id[:LONGEST_REQUEST_ID],
        )

    def values(self) -> dict[str, Any]:
        """What ENTRY is bound to."""
        return {
            "audit_attempt": self.attempt,
            "audit_kind": WORK,
            "audit_action": str(self.action),
            "audit_resource": self._resource,
            "audit_actor": self.actor,
            "audit_session": self.session,
            "audit_address": None if self.address is None else str(self.address),
            "audit_request_id": self.request_id,
        }

    def insert(self) -> str:
        """The same as one text for the simple protocol, which takes no arguments and so goes along with COMMIT.

        Nothing in it is as somebody wrote it: UUIDs, numbers and addresses were parsed, words are ours, and of the
        request id there are the hexadecimal digits of its bytes.
        """
        values = (
            _quoted(self.attempt),
            f"'{WORK}'",
            f"'{self.action}'",
            "NULL" if self._resource is None else f"'{self._resource}'",
            _quoted(self.actor),
            _quoted(self.session),
            _quoted(self.address),
            _text_of(self.request_id),
        )
        return f"{_INSERT} VALUES ({','.join(values)})"

    @property
    def _resource(self) -> str | None:
        if self.resource is None:
            return None
        known = self.resource if isinstance(self.resource, UUID) else int(self.resource)
        return f"{self.action.noun}/{known}"


def _quoted(value: UUID | IPv4Address | IPv6Address | None) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, _PARSED):
        raise TypeError("Only ids and addresses become a part of SQL, and only as they were parsed.")
    return f"'{value}'"


def _text_of(given: str | None) -> str:
    return "NULL" if given is None else f"convert_from(decode('{given.encode().hex()}','hex'),'UTF8')"


@lru_cache(maxsize=4096)
def address_of(peer: str) -> IPv4Address | IPv6Address | None:
    """The address that a server calls its peer by; None for anything else, such as the path of a socket."""
    try:
        parsed = ip_address(peer)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        # Made anew of its bits: a zone (`%eth0`) is a text, and PostgreSQL knows none.
        return parsed.ipv4_mapped or IPv6Address(int(parsed))
    return parsed
