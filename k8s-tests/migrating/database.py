"""The demo's PostgreSQL, asked inside its own pod, and sessions there that are in the way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from cluster.model import Cluster
from load.looking import seen
from slipway.migrations.session import LOCK_KEY

POD = "slipway-postgresql-0"
LONGEST_HOLD = 600
"""Seconds after which a session lets go by itself."""


def sql(cluster: Cluster, namespace: str, statement: str, database: str = "slipway") -> list[list[str]]:
    """Rows of a statement that the schema's owner runs. Raises CommandError."""
    told = cluster.kubectl.run(*_psql(namespace, database), f"--command={statement}")
    return [line.split("|") for line in told.splitlines()]


def ledger(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Revision → `announced` or `applied`, in the order in which they came."""
    state = "CASE WHEN applied_at IS NULL THEN 'announced' ELSE 'applied' END"
    rows = sql(cluster, namespace, f"SELECT revision, {state} FROM slipway_ledger ORDER BY sequence")  # noqa: S608
    return {row[0]: row[1] for row in rows}


def table_held(
    cluster: Cluster, namespace: str, table: str = "items", mode: str = "ACCESS SHARE"
) -> AbstractContextManager[int]:
    """A session that has read the table (or, by `mode`, more) and doesn't end its transaction; gives its pid."""
    return _held(cluster, namespace, f"LOCK TABLE {table} IN {mode} MODE")


def runner_held(cluster: Cluster, namespace: str) -> AbstractContextManager[int]:
    """A session that is the only runner on the database, and does nothing; gives its pid."""
    return _held(cluster, namespace, f"SELECT pg_advisory_lock({LOCK_KEY})")


def waiting_for(cluster: Cluster, namespace: str, pid: int) -> set[str]:
    """Names of the programs whose sessions wait for a lock of this one."""
    asked = f"SELECT application_name FROM pg_stat_activity WHERE {pid} = ANY(pg_blocking_pids(pid))"  # noqa: S608
    return {row[0] for row in sql(cluster, namespace, asked)}


@contextmanager
def _held(cluster: Cluster, namespace: str, statement: str) -> Iterator[int]:
    name = "holder"
    held = (f"BEGIN; {statement}", f"SELECT pg_sleep({LONGEST_HOLD})")
    command = [str(cluster.kubectl.path), f"--kubeconfig={cluster.kubectl.kubeconfig}"]
    command += [*_psql(namespace, "slipway", f"PGAPPNAME={name}"), *(f"--command={each}" for each in held)]
    own = {**os.environ, **cluster.kubectl.environment}
    process = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - kubectl
    sleeping = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event = 'PgSleep'"  # noqa: S608
    try:
        pid = seen(lambda: sql(cluster, namespace, sleeping), 20, f"a session that did: {statement}")[0][0]
        yield int(pid)
    finally:
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"  # noqa: S608
        try:
            sql(cluster, namespace, ended)
        finally:
            process.terminate()
            process.wait(10)


def _psql(namespace: str, database: str, *environment: str) -> list[str]:
    inside = ["exec", POD, "--container=postgresql", f"--namespace={namespace}", "--"]
    program = ["psql", "--username=slipway", f"--dbname={database}", "--no-psqlrc", "--quiet", "--tuples-only"]
    return [*inside, *(["env", *environment] if environment else []), *program, "--no-align", "--set=ON_ERROR_STOP=1"]
