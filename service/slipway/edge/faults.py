"""What a client is told about an exception that nobody foresaw."""

from __future__ import annotations

import asyncpg
from sqlalchemy import exc as sqlalchemy_errors

from slipway.http.problems import AppException, DeadlineExceededError, UnavailableError
from slipway.storage.unit import CommitInDoubtError

RETRY_AFTER = 2.0
IN_DOUBT = "The database was lost while this was being written. Look whether it was done before you repeat it."

# Conditions of PostgreSQL that pass, or that its operators mend without us: connection lost, out of connections,
# starting up, shutting down; login refused (a password that is being changed).
_AWAY_CLASSES = ("08", "57P", "53", "28")
_AWAY_STATES = frozenset(
    (
        "25P03",  # idle in a transaction for too long: the server closed the connection
        "25006",  # read only: a standby that isn't the primary yet, or no longer
        "3D000",  # the database isn't there: being restored
    )
)
_CONFLICT_CLASS = "40"  # deadlock, serialization failure: nothing was done, again is likely to work
_QUERY_CANCELED = "57014"

_LOST_BY_TYPE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
    sqlalchemy_errors.TimeoutError,
    sqlalchemy_errors.DisconnectionError,
)


def as_problem(error: BaseException) -> AppException | None:
    """The problem to reply with where an exception has a meaning for clients; None for a fault of ours (500).

    A statement stopped by its timeout is a missed deadline; a lost or exhausted database is 503, and so is a
    transaction that lost against another. Where something may have been done, the text says to look.
    """
    if isinstance(error, AppException):
        return error
    if isinstance(error, CommitInDoubtError):
        return UnavailableError(IN_DOUBT, retry_after=RETRY_AFTER)
    state = sql_state(error)
    if state == _QUERY_CANCELED:
        return DeadlineExceededError()
    if state is not None and state.startswith(_CONFLICT_CLASS):
        return UnavailableError("Another request was changing the same thing; try again.", retry_after=1)
    if _database_is_away(error, state):
        return UnavailableError("The database can't be reached just now; try again shortly.", retry_after=RETRY_AFTER)
    return None


def sql_state(error: BaseException) -> str | None:
    """PostgreSQL's code for what went wrong, also of an error that SQLAlchemy wrapped; None for any other."""
    cause = error.orig if isinstance(error, sqlalchemy_errors.DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def _database_is_away(error: BaseException, state: str | None) -> bool:
    if state is not None and (state.startswith(_AWAY_CLASSES) or state in _AWAY_STATES):
        return True
    if isinstance(error, sqlalchemy_errors.DBAPIError):
        return error.connection_invalidated or isinstance(
            error, sqlalchemy_errors.OperationalError | sqlalchemy_errors.InterfaceError
        )
    if isinstance(error, _LOST_BY_TYPE):
        return True
    # A connection that can't be made. An OSError that names a file is a fault of ours.
    return isinstance(error, OSError) and error.filename is None
