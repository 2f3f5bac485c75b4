"""What a process tells of itself under /keys, as docs/bring-your-own-service.md describes it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MOST_KEYS = 100
MOST_PROCESSES = 64
LONGEST_LIFETIME = 86_400.0 * 366

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_ROLE_LIMIT = 63


class UnusableError(Exception):
    """CamelCase reason why an answer doesn't count. `closed`: somebody took the connection, and didn't let us in."""

    def __init__(self, reason: str, *, closed: bool = False) -> None:
        super().__init__(reason)
        self.closed = closed


@dataclass(frozen=True, slots=True)
class Document:
    """`process`: which one of the pod's `processes` it is; empty where it doesn't say, and so is the only one."""

    keys: frozenset[str] = frozenset()
    signing: str = ""
    token_lifetime: float = 0.0
    """Seconds."""
    database_role: str = ""
    process: str = ""
    processes: int = 1


def understood(body: bytes) -> Document:
    """Raises UnusableError for anything but that document."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise UnusableError("Malformed") from None
    if not isinstance(found, dict) or not (_fits(found) and _tells_its_process(found)):
        raise UnusableError("Malformed")
    return Document(
        frozenset(found.get("keys", [])),
        found.get("signing", ""),
        float(found.get("token_lifetime", 0)),
        found.get("database_role") or "",
        str(found.get("process", "")),
        found.get("processes", 1),
    )


def _fits(found: dict[str, Any]) -> bool:
    keys, signing = found.get("keys", []), found.get("signing", "")
    lifetime, role = found.get("token_lifetime", 0), found.get("database_role") or ""
    return (
        isinstance(keys, list)
        and len(keys) <= MOST_KEYS
        and all(isinstance(key, str) and _ID.fullmatch(key) for key in keys)
        and isinstance(signing, str)
        and (not signing or bool(_ID.fullmatch(signing)))
        and isinstance(lifetime, int | float)
        and not isinstance(lifetime, bool)
        and 0 <= lifetime <= LONGEST_LIFETIME
        and isinstance(role, str)
        and len(role) <= _ROLE_LIMIT
    )


def _tells_its_process(found: dict[str, Any]) -> bool:
    """Neither member, or both: one of many that can't be told apart may be heard for all."""
    process, processes = found.get("process"), found.get("processes")
    if process is None and processes is None:
        return True
    return (
        isinstance(process, str | int)
        and not isinstance(process, bool)
        and bool(_ID.fullmatch(str(process)))
        and isinstance(processes, int)
        and not isinstance(processes, bool)
        and 1 <= processes <= MOST_PROCESSES
    )
