"""Plans, runs and awaits the migrations of an image that brings plain Alembic and nothing of Slipway.

One file for itself, mounted into the image: it needs Python 3.9 and the Alembic and SQLAlchemy that are there, and gets
to the database only through the image's env.py. Its ledger and its lock are those of `slipway db`. It exits with 0, or
with 1 and the reason in the last line of stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import re
import signal
import sys
import threading
import traceback
import zlib
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from io import StringIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, NoReturn

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

PREFIX, CREDENTIALS = "slipway.dev/v1 ", "SLIPWAY_DATABASE_CREDENTIALS_DIR"
LOCK_KEY = 0x736C6970776179  # "slipway" in ASCII: the advisory lock that every runner on a database takes
LOCK_STATES = ("55P03", "40P01")  # lock_timeout ran out, deadlock: the revision is tried again
LOST = ("08", "57P", "53300", "25006")  # a server that goes, starts, is full, or has become a standby
ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE = 30, 0.5, 10.0
LOOK_LIMIT = 60.0  # of `wait`, seconds
TELL_AGAIN, SAMPLE_INTERVAL, MESSAGE = 30.0, 0.25, 1000
PIECE, PIECES, DOCUMENT = 6000, 200, 4 * 2**20
DRIVERS = {"psycopg2": "postgresql", "psycopg": "postgresql+psycopg", "asyncpg": "postgresql+asyncpg"}
REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied for database")
FAULTS = ("Connection refused", "could not translate host name", "timeout expired", "certificate", "starting up")
"""Fragments of libpq's sentences on connections that fail; whole, the sentences may quote what is secret."""

LEDGER = "slipway_ledger"
READABLE = f"SELECT coalesce(has_table_privilege(to_regclass('{LEDGER}'), 'SELECT'), false)"
READ = f"SELECT revision, kind, announced_at IS NOT NULL, applied_at IS NOT NULL FROM {LEDGER} ORDER BY sequence"  # noqa: S608 - a constant
CREATE = f"""
    CREATE TABLE {LEDGER} (revision text PRIMARY KEY, sequence bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CHECK (kind IN ('expand', 'contract')), announced_at timestamptz, applied_at timestamptz)
"""
ANNOUNCE = f"""
    INSERT INTO {LEDGER} (revision, kind, announced_at) VALUES (:revision, :kind, now())
    ON CONFLICT (revision) DO UPDATE SET announced_at = coalesce({LEDGER}.announced_at, now())
"""  # noqa: S608 - a constant
RECORD = f"""
    INSERT INTO {LEDGER} (revision, kind, applied_at) VALUES (:revision, :kind, now())
    ON CONFLICT (revision) DO UPDATE SET kind = excluded.kind, applied_at = now()
"""  # noqa: S608 - a constant
DELETE = f"DELETE FROM {LEDGER} WHERE revision = :revision"  # noqa: S608 - a constant
BLOCKERS = """
    SELECT pid, coalesce(usename::text, backend_type, 'unknown'), state,
           extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::int
    FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(:pid)) ORDER BY pid
"""
POOLER = (
    "A pooler is between env.py and PostgreSQL, and lends our lock to others: name the server itself in the Secret."
)
BACKEND = "SELECT pg_backend_pid()"
CHECK_INTERVAL = (
    "SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
)
TOKEN = re.compile(
    r"(?P<skip>--[^\n]*|/\*.*?\*/|\"(?:[^\"]|\"\")*\")|(?P<end>;)|(?P<string>\b[eE]'(?:[^'\\]|''|\\.)*'"
    r"|(?:\b(?:[bBxXnN]|[uU]&))?'(?:[^']|'')*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)|(?P<word>[^\W\d][\w$]*)",
    re.DOTALL,
)
DATA, LOGINS = {"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"}, {"ROLE", "USER", "GROUP", "SERVER", "SUBSCRIPTION"}


class Failure(Exception):  # noqa: N818 - what ends a command need not be an error of ours
    """`lasting`: only a person, or another image, can mend it."""

    def __init__(self, reason: str, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.reason, self.lasting = reason, lasting


class BusyError(Exception):
    """Another runner has the lock. Raised through env.py, so that nobody waits in a transaction."""


class Revision(NamedTuple):
    id: str
    kind: str
    message: str
    parents: tuple[str, ...]


class Row(NamedTuple):
    revision: str
    kind: str
    announced: bool
    applied: bool


class Output:
    """Lines on the real stdout, whatever env.py does to `sys.stdout`; with the last one the process ends."""

    def __init__(self, *, marked: bool) -> None:
        self._marked, self._stdout, self._lock = marked, os.dup(1), threading.RLock()

    def line(self, type_: str, plain: str, **fields: Any) -> None:
        document = json.dumps({"type": type_, **fields}, separators=(",", ":"))
        with self._lock:
            os.write(self._stdout, (f"{PREFIX}{document}\n" if self._marked else f"{plain}\n").encode())

    def say(self, message: str, reason: str = "") -> None:
        fields = {"reason": reason} if reason else {}
        self.line("waiting" if reason else "working", message, **fields, message=message[:MESSAGE])

    def end(self, code: int, type_: str, plain: str, **fields: Any) -> NoReturn:
        with self._lock:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            self.line(type_, plain, **fields)
            os._exit(code)  # not sys.exit: what the application prints at its end would come after the last line

    def fail(self, error: Failure, code: int = 1) -> NoReturn:
        told = {"reason": error.reason, "message": str(error)[:MESSAGE], "lasting": error.lasting}
        self.end(code, "failed", f"Error: {error} ({error.reason})", **told)

    def fail_after(self, seconds: float, reason: str, message: str) -> threading.Timer:
        """End the process then, also out of a driver's call that doesn't come back."""
        timer = threading.Timer(seconds, self.fail, [Failure(reason, message)])
        timer.daemon = True
        timer.start()
        return timer


def reached(chain: tuple[Revision, ...], heads: tuple[str, ...]) -> set[str]:
    """The ids of `heads` and all that came before them, of those that the image knows."""
    parents = {revision.id: revision.parents for revision in chain}
    found: set[str] = set()
    left = [head for head in heads if head in parents]
    while left:
        found.add(head := left.pop())
        left.extend(parents[head])
    return found


def decide_pending(chain: tuple[Revision, ...], heads: tuple[str, ...], rows: tuple[Row, ...]) -> tuple[Revision, ...]:
    """What the image still has to run; nothing on a database that is ahead of it. Raises Failure on a strange one."""
    known = {revision.id for revision in chain}
    unknown = [head for head in heads if head not in known]
    if not unknown:
        return tuple(revision for revision in chain if revision.id not in reached(chain, heads))
    if known <= {row.revision for row in rows if row.applied}:
        return ()
    message = f"The database is at {', '.join(unknown)}, which this image doesn't know, and the ledger doesn't say that it came after {chain[-1].id if chain else 'nothing'}: run the image that brought it there."  # fmt: skip  # noqa: E501 - a sentence
    raise Failure("RevisionUnknown", message, lasting=True)


def hold_contracts(pending: tuple[Revision, ...]) -> tuple[tuple[Revision, ...], tuple[Revision, ...]]:
    """What comes before the first contract, and the rest. Raises Failure when an expand is in that rest."""
    first = next((place for place, revision in enumerate(pending) if revision.kind == "contract"), len(pending))
    stranded = [revision.id for revision in pending[first:] if revision.kind == "expand"]
    if not stranded:
        return pending[:first], pending[first:]
    message = f"Contract {pending[first].id} comes before {stranded[-1]}, which this image needs. Deploy the release that ends with that contract first, or stop the pods of earlier releases and run --phase=all."  # noqa: E501 - a sentence
    raise Failure("ReleaseSkipped", message, lasting=True)


def decide_gate(chain: tuple[Revision, ...], rows: tuple[Row, ...] | None) -> tuple[str, str, str]:
    """(open, waiting or refused; reason; sentence). A contract that is announced is as good as applied."""
    if rows is None:
        return "waiting", "LedgerMissing", "The database has no ledger that this login may read yet."
    known, applied = {revision.id for revision in chain}, {row.revision for row in rows if row.applied}
    breaking = [row for row in rows if row.kind == "contract" and row.revision not in known]
    for row in sorted(breaking, key=lambda row: not row.applied):
        if row.applied or row.announced:
            what = "was applied" if row.applied else "was announced and may be applied at any moment"
            sentence = f"Contract {row.revision} of a later release {what}: start that release or a newer one."
            return "refused", "ContractApplied" if row.applied else "ContractAnnounced", sentence
    needs = next((revision.id for revision in reversed(chain) if revision.kind == "expand"), None)
    if needs is not None and needs not in applied:
        return "waiting", "RevisionMissing", f"Revision {needs}, which this image needs, isn't applied yet."
    return "open", "SchemaReady", "The schema has what this image needs."


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
        primary = getattr(getattr(found, "diag", None), "message_primary", None) or getattr(found, "message", None)
        return f"{primary or type(found).__name__} ({code})"
    if is_of_database(error):
        told = [fragment for fragment in REFUSALS + FAULTS if fragment in str(found)]
        number = getattr(found, "errno", None)
        return ": ".join([type(found).__name__, *([os.strerror(number)] if number else told)])
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def refuses_login(error: BaseException) -> bool:
    state, words = sqlstate_of(error), str(getattr(error, "orig", error))
    return state[:2] == "28" or state in ("3D000", "42501") or (not state and any(word in words for word in REFUSALS))


def is_open(row: Row) -> bool:
    """Whether the contract is announced and hasn't run."""
    return row.kind == "contract" and row.announced and not row.applied


def foreign(chain: tuple[Revision, ...], heads: tuple[str, ...], rows: tuple[Row, ...]) -> list[str]:
    """Contracts that were announced, never ran, and that this image doesn't know."""
    known = {*heads, *(revision.id for revision in chain)}
    return [row.revision for row in rows if is_open(row) and row.revision not in known]


def digest(sql: str | None) -> str | None:
    return None if sql is None else hashlib.sha256(sql.encode()).hexdigest()


class Image:
    """alembic.ini and the revisions it leads to. Raises Failure when they can't be read or have several heads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.owner: URL | None = None
        try:
            self.owner = read_login(os.environ.get(CREDENTIALS), Config(path))
            self._script = ScriptDirectory.from_config(self._config())
            found = {script.revision: read_revision(script) for script in self._script.walk_revisions()}
            heads = sorted(self._script.get_heads())
            order = TopologicalSorter({id_: found[id_].parents for id_ in sorted(found)}).static_order()
            self.chain = tuple(found[id_] for id_ in order)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - the revisions are code, too
            said = error if isinstance(error, (CommandError, CycleError)) else describe(error)
            raise Failure("RevisionsUnreadable", f"{path}: {said}", lasting=True) from None
        if len(heads) > 1:
            message = (
                f"The revisions have {len(heads)} heads ({', '.join(heads)}): let them follow each other, or merge."
            )
            raise Failure("MultipleHeads", message, lasting=True)

    def _config(self, output: Any = sys.stdout) -> Config:
        config = Config(self._path, output_buffer=output)
        if self.owner is not None:
            url = self.owner.render_as_string(hide_password=False)
            config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        return config

    def run(self, work: Callable[[Any], str], **options: Any) -> str:
        """Run env.py, with `work` before it runs a revision: the one that `work` answers. Returns SQL when offline."""
        written, chosen = StringIO(), [""]
        steps = lambda heads, _: self._script._upgrade_revs(chosen[0], heads)  # noqa: E731, SLF001 - as Alembic's command
        environment = EnvironmentContext(
            self._config(written), self._script, fn=steps, destination_rev="head", **options
        )
        run_revisions = environment.run_migrations

        def work_and_run(**kw: Any) -> None:
            try:
                chosen[0] = work(environment.get_context())
                if chosen[0]:
                    run_revisions(**kw)
            finally:
                # Out of whatever pool it is of: the lock must end with env.py's use of the session.
                with contextlib.suppress(Exception):
                    environment.get_context().connection.detach()  # type: ignore[union-attr]

        # On the instance: Alembic's module `context` speaks to no class but EnvironmentContext itself.
        environment.run_migrations = work_and_run  # type: ignore[method-assign]
        with environment:
            self._script.run_env()
        return written.getvalue().strip()

    def sql(self, revision: Revision) -> str | None:
        """None when it reads the database, or is another each time, and so can't be told beforehand."""
        start = ",".join(revision.parents) or None
        try:
            first, second = (self.run(lambda _: revision.id, as_sql=True, starting_rev=start) for _ in range(2))
        except Exception:  # noqa: BLE001 - a revision's own code, whatever it stumbles on
            return None
        return first if first == second else None


def read_revision(script: Any) -> Revision:
    kind = getattr(script.module, "kind", "expand")
    if kind not in ("expand", "contract"):
        raise CommandError(f"revision {script.revision}: kind is {kind!r}, must be 'expand' or 'contract'")
    message = " ".join((script.module.__doc__ or "").partition("Revision ID:")[0].split())
    return Revision(script.revision, kind, message, tuple(script._all_down_revisions))  # noqa: SLF001 - with depends_on


def read_login(folder: str | None, config: Config) -> URL | None:
    """The login in a folder of Service Binding files, for the driver that alembic.ini names; None without a folder."""
    if not folder:
        return None
    files = {name: Path(folder, name) for name in ("host", "port", "database", "username", "password", "uri")}
    login = {name: path.read_text("utf-8").strip() if path.is_file() else "" for name, path in files.items()}
    driver = next((url for module, url in DRIVERS.items() if importlib.util.find_spec(module)), "postgresql")
    with contextlib.suppress(Exception):  # a placeholder, or an interpolation that only env.py knows
        own = make_url(config.get_main_option("sqlalchemy.url") or "").drivername
        driver = own if own.startswith("postgresql") else driver
    try:
        url = make_url(login["uri"] or "postgresql://").set(drivername=driver)
        if all(login[name] for name in ("host", "database", "username", "password")):
            socket = {"host": login["host"]} if login["host"].startswith("/") else {}
            host, port = None if socket else login["host"], int(login["port"] or 5432)
            url = URL.create(driver, login["username"], login["password"], host, port, login["database"], socket)
        if url.username and url.database:
            return url
    except (SQLAlchemyError, ValueError):
        pass  # its message may quote the password
    raise Failure(
        "LoginRefused", "The Secret of the owner's login lacks host, database, username or password, and uri."
    )


def masked(sql: str) -> str:
    """SQL without the strings of statements that carry data, or a password."""
    told, start = "", 0
    for end in [*(token.end() for token in TOKEN.finditer(sql) if token["end"]), len(sql)]:
        statement, start = sql[start:end], end
        words = [token["word"].upper() for token in TOKEN.finditer(statement) if token["word"]]
        hides = words[:1] == ["DO"] and not DATA.isdisjoint(re.findall(r"\w+", statement.upper()))
        hides = hides or (words[:1] in (["WITH"], ["EXPLAIN"], ["PREPARE"]) and not DATA.isdisjoint(words))
        hides = hides or (words[:1] in (["CREATE"], ["ALTER"]) and not LOGINS.isdisjoint(words[1:3]))
        mask = hides or not DATA.isdisjoint(words[:1])
        told += TOKEN.sub(lambda token: "'…'" if token["string"] else token[0], statement) if mask else statement
    return told


def read_rows(connection: Connection) -> tuple[Row, ...] | None:
    """The ledger; None when there is none that this login may read."""
    readable = connection.scalar(text(READABLE))
    return tuple(Row(*row) for row in connection.execute(text(READ))) if readable else None


def write(connection: Connection, statement: str, revision: str, kind: str | None = None) -> None:
    values = {"revision": revision, "kind": kind} if kind else {"revision": revision}
    connection.execute(text(statement), values)


class Watch(threading.Thread):
    """Looks from a second session who blocks the first, as afterwards nobody knows. Costs nothing where it can't."""

    def __init__(self, connection: Connection, tell: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._engine, self._pid, self._tell = connection.engine, connection.scalar(text(BACKEND)), tell
        self.last, self.over = "a session that is gone by now", threading.Event()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(Exception):
            if self._engine.dialect.is_async:
                asyncio.run(self._run_async())
            else:
                with self._engine.connect() as connection:
                    self._look(connection)

    async def _run_async(self) -> None:
        async with AsyncEngine(self._engine).connect() as connection:
            await connection.run_sync(self._look)

    def _look(self, connection: Connection) -> None:
        connection.detach()
        told = monotonic()
        while not self.over.wait(SAMPLE_INTERVAL):
            rows = connection.execute(text(BLOCKERS), {"pid": self._pid}).all()
            connection.rollback()  # within one transaction the view stays as it was
            if rows:
                self.last = ", ".join("pid {} (user {}, {}, for {} s)".format(*row) for row in rows)
            if rows and monotonic() - told > TELL_AGAIN:
                self._tell(self.last)
            told = told if rows and monotonic() - told <= TELL_AGAIN else monotonic()


class Runner:
    """A command's way through env.py to the database, and where it stands there."""

    def __init__(self, image: Image, output: Output, options: argparse.Namespace) -> None:
        self._image, self._output, self._options = image, output, options
        self._end, self._what = monotonic() + options.patience, ""
        self._watch: Watch | None = None
        self._running: Revision | None = None
        self._digests: dict[str, str | None] = {}
        self._straight, self._finished = options.phase == "all", False
        self.applied: list[str] = []
        self.held_back: list[str] = []
        self.heads: tuple[str, ...] = ()

    def visit(self, work: Callable[[Any], str]) -> None:
        """Let env.py connect and do `work`; again while the database isn't up or another runner is at work."""
        while True:
            self._what = ""
            try:
                self._image.run(work)
            except BusyError:
                self._output.say("Another runner is at work on this database; waiting for it.", "WaitingForRunner")
            except Failure:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the image's own code
                failure = self._failure(error)
                if self._what or failure.reason != "DatabaseUnreachable" or monotonic() >= self._end:
                    raise failure from None
                self._output.say(str(failure), failure.reason)
            else:
                return
            sleep(random.uniform(0.3, 1.0))  # noqa: S311 - jitter

    def _failure(self, error: BaseException) -> Failure:
        state, message = sqlstate_of(error), f"{self._what or 'env.py'} failed: {describe(error)}."
        if state in ("42P05", "26000"):  # statements that another client prepared on the session, or that are gone
            return Failure("PoolerInBetween", POOLER, lasting=True)
        if state in LOCK_STATES:
            blockers = self._watch.last if self._watch else "another session"
            return Failure("LockNotAvailable", f"{self._what} got no lock because of {blockers}.")
        if not self._what and is_of_database(error) and refuses_login(error):
            return Failure("LoginRefused", f"The database refuses the login: {describe(error)}.")
        if (
            state[:2] == "08"
            or state[:3] == "57P"
            or state in ("53300", "25006")
            or (not state and is_of_database(error))
        ):
            return Failure("DatabaseUnreachable", f"The database can't be reached: {describe(error)}.")
        if state == "42501" and self._running is None:
            return Failure("RoleUnfit", f"{message} Let the Secret have the login of the schema's owner.", lasting=True)
        return Failure("StatementFailed" if state else "MigrationFailed", message)

    def enter(self, context: Any) -> Connection:
        """The session, with its limits. Raises Failure where a pooler is in between."""
        connection: Connection = context.connection
        self._what = "The ledger"
        driver = connection.connection.driver_connection
        told = getattr(getattr(driver, "info", None), "backend_pid", None) or getattr(driver, "get_server_pid", int)()
        if told and told != connection.scalar(text(BACKEND)):
            raise Failure("PoolerInBetween", POOLER, lasting=True)
        limits = [(name, getattr(self._options, name)) for name in ("lock_timeout", "statement_timeout")]

        def limit(begun: Connection) -> None:
            # Not in autocommit: a concurrent index build waits for old transactions, and blocks nobody meanwhile.
            for name, seconds in limits if begun.get_execution_options().get("isolation_level") != "AUTOCOMMIT" else ():
                begun.exec_driver_sql(f"SET LOCAL {name} = {max(1, int(seconds * 1000))}")

        limit(connection)
        event.listen(connection, "begin", limit)
        # A runner that was killed must not go on building, holding the lock, until its statement ends by itself.
        connection.execute(text(CHECK_INTERVAL))
        return connection

    def alone(self, act: Callable[[Any, tuple[Row, ...]], str]) -> None:
        """Visit as the only runner, and `act` in a transaction; it may answer with a revision to run."""

        def work(context: Any) -> str:
            connection = self.enter(context)
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
                raise BusyError
            with context.begin_transaction(_per_migration=True):
                self.heads = context.get_current_heads()
                return act(context, read_rows(connection) or ())

        try:
            self.visit(work)
        finally:
            if self._watch is not None:
                self._watch.over.set()

    def prepare(self, context: Any, rows: tuple[Row, ...]) -> tuple[Revision, ...]:
        """Make the ledger, let it agree with Alembic's table, and return what is pending. Raises as decide_pending."""
        chain, connection = self._image.chain, context.connection
        pending, done = decide_pending(chain, self.heads, rows), reached(chain, self.heads)
        context._ensure_version_table()  # noqa: SLF001 - Alembic itself would do it before there is a lock
        if connection.scalar(text(f"SELECT to_regclass('{LEDGER}')")) is None:
            connection.execute(text(CREATE))
            connection.execute(text(f"GRANT SELECT ON {LEDGER} TO PUBLIC"))  # ids only, and every gate must see them
        applied = {row.revision for row in rows if row.applied}
        for one in chain if done or not self.heads else ():
            if one.id in done and one.id not in applied:
                write(connection, RECORD, one.id, one.kind)
            elif one.id in applied and one.id not in done:
                write(connection, DELETE, one.id)
        return pending

    def announce(self, context: Any, rows: tuple[Row, ...]) -> str:
        self.held_back = [revision.id for revision in self.prepare(context, rows) if revision.kind == "contract"]
        for revision in self.held_back:
            write(context.connection, ANNOUNCE, revision, "contract")
        return ""

    def withdraw(self, context: Any, rows: tuple[Row, ...]) -> str:
        opened = [row.revision for row in rows if is_open(row)]
        strange = foreign(self._image.chain, self.heads, rows)
        for revision in strange:
            write(context.connection, DELETE, revision)
        self.held_back = [revision for revision in opened if revision not in strange]
        return ""

    def upgrade(self) -> None:
        """Run what is pending, revision by revision, each again and again while a lock is in the way."""
        self._digests = {one.id: digest(self._image.sql(one)) for one in self._image.chain if self._options.expect}
        tries = 1
        while not self._finished:
            self._running = self._watch = None
            try:
                self.alone(self._step)
            except Failure as failure:
                if failure.reason != "LockNotAvailable" or tries == ATTEMPTS:
                    raise
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
                pause, tries = random.uniform(longest / 2, longest), tries + 1  # noqa: S311 - jitter
                self._output.say(f"{failure} The next try is in {pause:.1f} s.", "WaitingForLock")
                sleep(pause)
                continue
            tries = 1
            if self._running is not None:
                self.applied.append(self._running.id)
                self._output.say(f"Revision {self._running.id} is done.")

    def _step(self, context: Any, rows: tuple[Row, ...]) -> str:
        """The next revision to run. A contract is announced first, in a visit of its own."""
        pending = self.prepare(context, rows)
        self._straight = self._straight or not (self.heads or self.applied)
        run, held = (pending, ()) if self._straight else hold_contracts(pending)
        self.held_back, self._finished = [revision.id for revision in held], not run
        for revision in run if self._options.expect else ():
            if self._digests[revision.id] != dict(self._options.expect).get(revision.id):
                message = f"Revision {revision.id} isn't what was planned: look at a new plan, and approve that."
                raise Failure("PlanChanged", message)
        if not run:
            return ""
        revision = run[0]
        if revision.id in self.applied:
            raise Failure("MigrationFailed", f"Revision {revision.id} ran, but env.py didn't commit it.")
        if revision.kind == "contract" and revision.id not in {row.revision for row in rows if row.announced}:
            write(context.connection, ANNOUNCE, revision.id, revision.kind)
            return ""
        self._running, self._what = revision, f"Revision {revision.id}"

        def record(ctx: Any, **_: Any) -> None:
            write(ctx.connection, RECORD, revision.id, revision.kind)

        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, record)
        self._output.say(f"{self._what} runs.")
        said = f"{self._what} waits for a lock that is held by"
        self._watch = Watch(context.connection, lambda who: self._output.say(f"{said} {who}.", "WaitingForLock"))
        return revision.id


def plan(image: Image, runner: Runner, output: Output, *, literals: bool) -> NoReturn:
    """Tell what is pending. Of a plan that is too large the longest SQL is left out, and it is called partial."""
    seen: dict[str, Any] = {}

    def work(context: Any) -> str:
        connection = runner.enter(context)
        may = connection.scalar(text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"))
        system = connection.scalar(text("SELECT system_identifier::text FROM pg_control_system()")) if may else ""
        seen["database"] = {"system": system, "name": connection.scalar(text("SELECT current_database()"))}
        runner.heads, seen["rows"] = context.get_current_heads(), read_rows(connection) or ()
        return ""

    runner.visit(work)
    rows: tuple[Row, ...] = seen.pop("rows")
    revisions: list[dict[str, Any]] = []
    opened = [row.revision for row in rows if is_open(row)]
    for one in decide_pending(image.chain, runner.heads, rows):
        sql = image.sql(one)
        shown = sql if sql is None or literals else masked(sql)
        revisions.append({"id": one.id, "kind": one.kind, "message": one.message, "sql": shown,
                          "sql_digest": digest(sql), "announced": one.id in opened})  # fmt: skip
    document = {"version": 1, **seen, "current": ",".join(runner.heads), "target": "", "revisions": revisions}
    document["foreign"] = foreign(image.chain, runner.heads, rows)
    if image.chain:
        document["target"] = image.chain[-1].id
    while True:
        document["partial"] = any(one["sql"] is None for one in revisions)
        whole = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        packed = base64.b64encode(zlib.compress(whole, 9)).decode()
        if len(whole) <= DOCUMENT and len(packed) <= PIECE * PIECES:
            break
        longest = max(revisions, key=lambda one: len(one["sql"] or ""))
        longest.update(sql=None, sql_digest=None)
    pieces = [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]
    for number, piece in enumerate(pieces[:-1], 1):
        output.line("plan", "", part=number, parts=len(pieces), data=piece)
    shown = "\n\n".join(
        f"-- {one['id']} {one['kind']}\n{one['sql'] or '-- It reads the database.'}" for one in revisions
    )
    output.end(0, "plan", shown or "-- nothing to do", part=len(pieces), parts=len(pieces), data=pieces[-1])


def wait(image: Image, output: Output, timeout: float | None) -> NoReturn:
    """Look until the gate is open. Whatever is wrong with the database is only waited for."""
    end, said, told, pause = monotonic() + (timeout or float("inf")), "", 0.0, 0.25
    rows: list[tuple[Row, ...] | None] = [None]

    def work(context: Any) -> str:
        rows[0] = read_rows(context.connection)
        return ""

    while True:
        timer = output.fail_after(
            LOOK_LIMIT, "DatabaseUnreachable", f"The database gave no answer in {LOOK_LIMIT:g} s."
        )
        try:
            image.run(work)
            verdict, reason, sentence = decide_gate(image.chain, rows[0])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the image's own code
            if not is_of_database(error):
                raise Failure("MigrationFailed", f"env.py failed: {describe(error)}.") from None
            verdict, reason, sentence = "waiting", "DatabaseUnreachable", f"The database: {describe(error)}."
        timer.cancel()
        if verdict == "open":
            output.end(0, "done", sentence)
        if verdict == "refused" or monotonic() >= end:
            raise Failure(reason, sentence, lasting=verdict == "refused")
        if sentence != said or monotonic() - told > TELL_AGAIN:
            output.say(f"Waiting: {sentence} ({reason})", reason)
            said, told = sentence, monotonic()
        sleep(min(random.uniform(pause / 2, pause), max(0.0, end - monotonic())))  # noqa: S311 - jitter
        pause = min(3.0, pause * 1.5)


def main() -> NoReturn:
    options = parse_arguments()
    output = Output(marked=options.marked)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def terminated() -> None:
        signal.sigwait([signal.SIGTERM])
        output.fail(Failure("MigrationFailed", "It was ended by SIGTERM; what was committed stays."), 143)

    threading.Thread(target=terminated, daemon=True).start()
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    try:
        image = Image(options.config)
        if options.command == "wait":
            wait(image, output, options.timeout)
        message = f"The budget of {options.budget:g} s is used up. What was done stays; run it again."
        output.fail_after(options.budget, "BudgetExceeded", message)
        runner = Runner(image, output, options)
        if options.command == "plan":
            plan(image, runner, output, literals=options.literals)
        if options.command == "upgrade":
            runner.upgrade()
        else:
            runner.alone(runner.announce if options.command == "announce" else runner.withdraw)
    except Failure as failure:
        output.fail(failure)
    except Exception as error:  # noqa: BLE001 - a traceback could quote a login
        output.fail(Failure("MigrationFailed", describe(error)))
    done = (
        f"Applied: {', '.join(runner.applied) or 'nothing'}. Contracts left: {', '.join(runner.held_back) or 'none'}."
    )
    output.end(0, "done", done, current=",".join(runner.heads), applied=runner.applied, held_back=runner.held_back)


def parse_arguments() -> argparse.Namespace:
    def expected(value: str) -> tuple[str, str]:
        revision, _, sha256 = value.rpartition(":")
        return revision, sha256

    parser = argparse.ArgumentParser(description="Migrations of an image that brings plain Alembic.")
    parser.add_argument("command", choices=("plan", "upgrade", "announce", "withdraw", "wait"))
    parser.add_argument("--config", required=True, help="path of alembic.ini")
    parser.add_argument("--phase", choices=("all", "expand"), default="all", help="expand leaves contracts for later")
    parser.add_argument("--expect", type=expected, action="append", default=[], metavar="REVISION:SHA256")
    parser.add_argument("--marked", action="store_true", help="write lines for the operator")
    parser.add_argument("--literals", action="store_true", help="show the strings of data statements in plans")
    parser.add_argument("--timeout", type=float, help="of wait, in seconds; without it, never")
    for name, seconds in (("patience", 0.0), ("lock-timeout", 3.0), ("statement-timeout", 900.0), ("budget", 3600.0)):
        parser.add_argument(f"--{name}", type=float, default=seconds, help="seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
