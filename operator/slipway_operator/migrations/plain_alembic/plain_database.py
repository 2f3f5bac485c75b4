"""The ledger, which is that of `slipway db`, and other questions to PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

from plain_decisions import Row

LOCK_KEY = 0x736C6970776179  # "slipway" in ASCII: the advisory lock that every runner on a database takes
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
BACKEND = "SELECT pg_backend_pid()"
MAY_SEE_SYSTEM = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
# Some providers keep that to themselves. The object id tells databases of one name apart, if not for certain.
OBJECT_ID = "SELECT 'oid-' || oid FROM pg_database WHERE datname = current_database()"
CHECK_INTERVAL = (
    "SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
)


def read_rows(connection: Connection) -> tuple[Row, ...] | None:
    """The ledger; None when there is none that this login may read."""
    readable = connection.scalar(text(READABLE))
    return tuple(Row(*row) for row in connection.execute(text(READ))) if readable else None


def write(connection: Connection, statement: str, revision: str, kind: str | None = None) -> None:
    values = {"revision": revision, "kind": kind} if kind else {"revision": revision}
    connection.execute(text(statement), values)


def read_place(connection: Connection) -> dict[str, str]:
    """Which database it is: `system`, the server's identifier, and `name`."""
    system = SYSTEM if connection.scalar(text(MAY_SEE_SYSTEM)) else OBJECT_ID
    return {"system": connection.scalar(text(system)), "name": connection.scalar(text("SELECT current_database()"))}
