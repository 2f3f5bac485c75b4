"""What an error of PostgreSQL, of its drivers or of env.py means, told without what may be secret."""

from __future__ import annotations

import asyncio
import configparser
import os
import traceback
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from plain_output import lacking

DRIVERS = {"psycopg2": "postgresql+psycopg2", "psycopg": "postgresql+psycopg", "asyncpg": "postgresql+asyncpg"}
"""Modules that connect, and the URLs that choose them."""
LOCK_STATES = ("55P03", "40P01")  # lock_timeout ran out, deadlock: the revision is tried again
DATA_EXCEPTION = "22"  # its messages quote the value that didn't fit
LOST = ("08", "57P", "53300", "25006")  # a server that goes, starts, is full, or has become a standby
REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied for database")
FAULTS = ("Connection refused", "could not translate host name", "timeout expired", "certificate", "starting up")
"""Fragments of libpq's sentences on connections that fail; whole, the sentences may quote what is secret."""


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's code; empty when the error isn't the server's."""
    found = getattr(error, "orig", None) or error
    codes = [getattr(one, name, None) for one in (found, found.__cause__) for name in ("sqlstate", "pgcode")]
    return next((code for code in codes if isinstance(code, str)), "")


def is_of_database(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.filename is None  # else it is a file that env.py lacks
    return type(error).__module__.partition(".")[0] in DRIVERS or isinstance(error, (DBAPIError, asyncio.TimeoutError))


def describe(error: BaseException) -> str:
    """Without what may be secret: the server's primary message, known fragments of a driver's, else only the place."""
    found = getattr(error, "orig", None) or error
    found = found.__cause__ or found if is_of_database(error) else found
    if code := sqlstate_of(error):
        if code.startswith(DATA_EXCEPTION):
            return f"{type(found).__name__} ({code})"
        primary = getattr(getattr(found, "diag", None), "message_primary", None) or getattr(found, "message", None)
        return f"{primary or type(found).__name__} ({code})"
    if is_of_database(error):
        told = [fragment for fragment in REFUSALS + FAULTS if fragment in str(found)]
        number = getattr(found, "errno", None)
        return ": ".join([type(found).__name__, *([os.strerror(number)] if number else told)])
    module = lacking(error) if isinstance(error, ImportError) else ""
    return "".join([type(error).__name__, f" of {module}" if module else "", _place(error)])


def _place(error: BaseException) -> str:
    """Where the mistake is, if a parser tells; else where it was raised."""
    file, line = None, None
    if isinstance(error, (SyntaxError, configparser.Error)):  # of others these may be anything, also a whole text
        file, line = getattr(error, "filename", None) or getattr(error, "source", None), getattr(error, "lineno", None)
    if not (file and line):
        for place in traceback.extract_tb(error.__traceback__)[-1:]:
            file, line = place.filename, place.lineno
    return f" at {Path(file).name}:{line}" if file and line else ""


def refuses_login(error: BaseException) -> bool:
    state, words = sqlstate_of(error), str(getattr(error, "orig", error))
    return state[:2] == "28" or state in ("3D000", "42501") or (not state and any(word in words for word in REFUSALS))
