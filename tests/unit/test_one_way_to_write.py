"""Nothing of the service writes but in a unit of work: reads are given a session, and do nothing else with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import slipway

SERVICE = Path(slipway.__file__).parent
ELSEWHERE = ("migrations",)
"""Packages that write by other ways: the owner's, whose writes are schema changes and are told in the ledger."""
WRITES = {"insert", "update", "delete", "add", "add_all", "merge", "commit", "begin", "with_for_update", "text"}
CONNECTS = {"raw_connection", "connect", "AsyncSession", "transaction"}
MAY_CONNECT = {
    "storage/connections.py",
    "storage/engine.py",
    "storage/unit.py",
    "jobs/listener.py",
    "local/embedded.py",
}
"""The pool; LISTEN, which writes nothing; and the database that `slipway run` makes."""


def faults(source: str, where: str) -> Iterator[str]:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in CONNECTS and where not in MAY_CONNECT:
            yield f"{where}:{node.lineno} opens a connection by {_name(node.func)}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and _is_given_a_session(node):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and _name(call.func) in WRITES:
                    yield f"{where}:{call.lineno} reads by {_name(call.func)}"


def _name(function: ast.expr) -> str:
    if ast.unparse(function).endswith("connections.take"):
        return "connect"
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_given_a_session(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> bool:
    kinds = [ast.unparse(one.annotation) if one.annotation else one.arg for one in function.args.args]
    return any("AsyncSession" in kind or kind == "session" for kind in kinds)


def test_what_is_given_a_session_only_reads_and_nothing_else_opens_a_connection() -> None:
    found = []
    for path in sorted(SERVICE.rglob("*.py")):
        where = path.relative_to(SERVICE).as_posix()
        if not where.startswith(ELSEWHERE):
            found += faults(path.read_text(encoding="utf-8"), where)
    assert found == []


def test_another_way_would_be_noticed() -> None:
    """Negative control."""
    write = "async def end(session: AsyncSession) -> None:\n    await session.execute(delete(Item))\n"
    aside = "database.read(lambda session: session.execute(update(Item)))\n"
    around = "async with AsyncSession(database.engine) as session:\n    pass\n"
    below = "pooled = await database.connections.take()\n"
    assert list(faults(write, "items/queries.py")) == ["items/queries.py:2 reads by delete"]
    assert list(faults(aside, "items/routes.py")) == ["items/routes.py:1 reads by update"]
    assert list(faults(around, "items/service.py")) == ["items/service.py:1 opens a connection by AsyncSession"]
    assert list(faults(below, "items/service.py")) == ["items/service.py:1 opens a connection by connect"]
