"""squawk's findings on a plan's SQL. It runs as a process, without network, files or settings of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slipway_operator.conditions import cut
from slipway_operator.migrations.model import Finding, Kind, Level, Trouble
from slipway_operator.migrations.report import PlannedRevision

SQUAWK = Path(sys.executable).parent / "squawk"
TIMEOUT = 30.0
"""Seconds for a whole plan."""
OLDEST_POSTGRESQL = "14.0"
"""The database's own version isn't known here; what the oldest one can't do without a lock is objected to."""
FINDINGS_LIMIT = 100
_MESSAGE_LIMIT = 1024
_NAME_LIMIT = 64

_PURPOSE_OF_A_CONTRACT = frozenset({"ban-drop-column", "ban-drop-table", "renaming-column", "renaming-table"})
"""They break code that runs. In a contract that is declared, and waited for; in an expand it is an error."""

_DONT_APPLY = (
    # The runner sets both timeouts for every revision.
    "require-timeout-settings",
    "require-lock-timeout",
    "require-statement-timeout",
    # Alembic writes the brackets of its transactions into the SQL, also around blocks in autocommit.
    "transaction-nesting",
    "ban-uncommitted-transaction",
    # IF NOT EXISTS takes an invalid index for a good one. What else failed half-way was rolled back with its revision.
    "prefer-robust-stmts",
)


class LintError(Exception):
    """squawk can't be had, crashed, or took too long. That is never the same as no findings."""

    @property
    def trouble(self) -> Trouble:
        return Trouble("LintFailed", f"squawk couldn't look at the plan's SQL: {self}")


async def lint(
    planned: Iterable[PlannedRevision],
    squawk: Path = SQUAWK,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of all runs
) -> tuple[Finding, ...]:
    """One finding for each rule and revision, at most FINDINGS_LIMIT. Raises LintError."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(timeout):
            for one in planned:
                if one.sql is not None:
                    raw = await _run(squawk, one.sql)
                    found += _findings(raw, one.revision.id, one.revision.kind)
    except TimeoutError:
        raise LintError(f"it took more than {timeout:g} s.") from None
    return _bounded(found)


async def _run(squawk: Path, sql: str) -> list[Any]:
    # Each revision for itself: a syntax error in one doesn't spoil the next.
    excluded = [f"--exclude={rule}" for rule in _DONT_APPLY]
    options = ("--reporter=json", f"--pg-version={OLDEST_POSTGRESQL}", "--assume-in-transaction", "--config=/dev/null")
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            squawk, *options, *excluded, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", env={}
        )
    except OSError as error:
        raise LintError(f"it can't be started ({error.strerror}).") from error
    try:
        output, _ = await process.communicate(sql.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _parsed(process.returncode, output)


def _parsed(code: int | None, output: bytes) -> list[Any]:
    """It ends with 0 without findings, with 1 with some. Raises LintError."""
    try:
        found = json.loads(output) if code in (0, 1) else None
    except ValueError:
        found = None
    if not isinstance(found, list) or bool(found) != (code == 1):
        raise LintError(f"it ended with code {code} and no findings that can be read.")
    return found


def _findings(raw: list[Any], revision: str, kind: Kind) -> list[Finding]:
    """The first of each rule. Raises LintError."""
    first: dict[str, Finding] = {}
    for one in raw:
        try:
            rule, level, message, help_ = one["rule_name"], one["level"], one["message"], one["help"]
            text = f"{message} {help_}" if help_ else str(message)
        except (KeyError, TypeError) as error:
            raise LintError("its findings have another form than this operator knows.") from error
        if kind == "contract" and rule in _PURPOSE_OF_A_CONTRACT:
            continue
        first.setdefault(
            rule, Finding(str(rule)[:_NAME_LIMIT], _level(rule, level), revision, cut(text, _MESSAGE_LIMIT))
        )
    return list(first.values())


def _level(rule: str, level: Any) -> Level:
    return "Error" if rule in _PURPOSE_OF_A_CONTRACT or level == "Error" else "Warning"


def _bounded(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, and every rule before the second finding of any: what is cut off has a namesake that is kept."""
    seen: set[tuple[str, Level]] = set()
    firsts: list[Finding] = []
    others: list[Finding] = []
    for finding in sorted(found, key=lambda one: one.level):
        known = (finding.rule, finding.level) in seen
        (others if known else firsts).append(finding)
        seen.add((finding.rule, finding.level))
    return tuple((firsts + others)[:FINDINGS_LIMIT])
