"""What ends a schema command: a reason for programs and one sentence for people, never with a secret in it."""

from __future__ import annotations

import re
from typing import Literal

import asyncpg
from sqlalchemy.exc import DBAPIError

from slipway.settings.sources import SettingsError
from slipway.storage.files import FilesError

Reason = Literal[
    "MultipleHeads",
    "RevisionUnknown",
    "ReleaseSkipped",
    "PoolerInBetween",
    "PlanChanged",
    "AnnouncementGone",
    "LockNotAvailable",
    "BudgetExceeded",
    "StatementFailed",
    "DatabaseUnreachable",
    "LoginRefused",
    "RoleUnfit",
    "RevisionsUnreadable",
    "MigrationFailed",
]

LASTING: frozenset[Reason] = frozenset(
    {"MultipleHeads", "RevisionUnknown", "ReleaseSkipped", "PoolerInBetween", "RoleUnfit", "RevisionsUnreadable"}
)
"""What the same command meets again until a person, or another image, mends it."""

REFUSED_LOGINS = ("28", "3D000", "42501")
"""SQLSTATEs, or their beginnings, of a login that the server doesn't take: password, database, right to connect."""

LOST = ("08", "57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25006")
"""SQLSTATEs, or their beginnings, of a server that goes, starts, is full, or has become a standby."""


DATA_EXCEPTION = "22"
"""Class of SQLSTATEs whose messages themselves quote what a row or a statement holds."""

_QUOTED = re.compile(r'".*"', re.DOTALL)
"""From the first quote to the last: a value may hold quotes itself."""


class MigrationError(Exception):
    """The schema can't be brought or read as asked; the message says why and what to do."""

    def __init__(self, message: str, *, reason: Reason = "MigrationFailed") -> None:
        super().__init__(message)
        self.reason: Reason = reason

    @property
    def lasting(self) -> bool:
        """Whether running the same again can't help."""
        return self.reason in LASTING


DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError)
"""What connecting and talking to PostgreSQL raises, by asyncpg itself and through SQLAlchemy."""


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code for what went wrong; None when the error isn't the server's."""
    return getattr(_server_error(error), "sqlstate", None)


def reason_of(error: BaseException) -> Reason:
    """The reason for an error of any type; `MigrationFailed` where none is known."""
    if isinstance(error, MigrationError):
        return error.reason
    if isinstance(error, FilesError) or (isinstance(error, SettingsError) and _of_login(error)):
        return "LoginRefused"
    original = _server_error(error)
    state = sqlstate_of(error) or ""
    if state.startswith(LOST) or isinstance(original, OSError | TimeoutError | asyncpg.InterfaceError):
        return "DatabaseUnreachable"
    if state.startswith(REFUSED_LOGINS):
        return "LoginRefused"
    return "StatementFailed" if state else "MigrationFailed"


def _of_login(error: SettingsError) -> bool:
    return all(fault.startswith("SLIPWAY_DATABASE_") for fault in error.faults)


def reason_of_statement(error: BaseException) -> Reason:
    """As `reason_of`, for a revision's statement: there a missing right doesn't concern the login."""
    reason = reason_of(error)
    return "StatementFailed" if reason == "LoginRefused" else reason


def describe(error: BaseException) -> str:
    """What happened, in a few words. Of PostgreSQL's errors only the message: details and SQL may quote rows."""
    if isinstance(error, MigrationError | FilesError):
        return str(error)
    original = _server_error(error)
    if isinstance(original, asyncpg.ConnectionDoesNotExistError):
        return "the connection was lost"  # the driver's own error: the server sent no message
    if isinstance(original, asyncpg.PostgresError):
        return f"{_without_values(original)} ({original.sqlstate})"
    if isinstance(original, TimeoutError):
        return "no answer within the time limit"
    if isinstance(original, OSError):
        return f"{type(original).__name__}: {original.strerror or original}"
    return "the connection was lost" if isinstance(original, asyncpg.InterfaceError) else type(original).__name__


def _without_values(error: asyncpg.PostgresError) -> str:
    message = str(getattr(error, "message", None) or type(error).__name__)
    return _QUOTED.sub('"…"', message) if (error.sqlstate or "").startswith(DATA_EXCEPTION) else message


def _server_error(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
