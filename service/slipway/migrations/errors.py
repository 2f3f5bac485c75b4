"""What ends a schema command: one sentence for whoever ran it, never with a secret in it."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError

from slipway.storage.login import LoginError


class MigrationError(Exception):
    """The schema can't be brought or read as asked; the message says why and what to do."""


DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError)
"""What connecting and talking to PostgreSQL raises, by asyncpg itself and through SQLAlchemy."""


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code for what went wrong; None when the error isn't the server's."""
    return getattr(_server_error(error), "sqlstate", None)


def describe(error: BaseException) -> str:
    """What happened, in a few words. Of PostgreSQL's errors only the message: details and SQL may quote rows."""
    if isinstance(error, MigrationError | LoginError):
        return str(error)
    original = _server_error(error)
    if isinstance(original, asyncpg.ConnectionDoesNotExistError):
        return "the connection was lost"  # the driver's own error: the server sent no message
    if isinstance(original, asyncpg.PostgresError):
        return f"{getattr(original, 'message', None) or type(original).__name__} ({original.sqlstate})"
    if isinstance(original, TimeoutError):
        return "no answer within the time limit"
    if isinstance(original, OSError):
        return f"{type(original).__name__}: {original.strerror or original}"
    return "the connection was lost" if isinstance(original, asyncpg.InterfaceError) else type(original).__name__


def _server_error(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
