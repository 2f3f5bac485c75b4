"""squawk itself looks at the SQL; programs that stand in for it fail in ways that it can't be made to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipway_operator.migrations.lint import LintError, lint
from slipway_operator.migrations.model import Kind, Revision
from slipway_operator.migrations.report import PlannedRevision


def planned(sql: str | None, kind: Kind = "expand", name: str = "0002") -> PlannedRevision:
    return PlannedRevision(Revision(name, kind), sql)


async def found(sql: str, kind: Kind = "expand") -> dict[str, str]:
    return {finding.rule: finding.level for finding in await lint([planned(sql, kind)])}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1;", {}),
        ("CREATE INDEX i ON t (a);", {"require-concurrent-index-creation": "Warning"}),
        ("BEGIN; CREATE INDEX i ON t (a); COMMIT;", {"require-concurrent-index-creation": "Warning"}),
        ("COMMIT; CREATE INDEX CONCURRENTLY i ON t (a); BEGIN;", {}),
        (
            "BEGIN; CREATE INDEX CONCURRENTLY i ON t (a); COMMIT;",
            {"ban-concurrent-index-creation-in-transaction": "Warning"},
        ),
        ("ALTER TABLE t ADD COLUMN a bigint;", {}),
        ("ALTER TABLE t ADD COLUMN a bigint NOT NULL;", {"adding-required-field": "Warning"}),
        ("INSERT INTO t (a) VALUES ('…');", {}),
        ("ALTER TABLE t DROP COLUMN a;", {"ban-drop-column": "Error"}),
        ("DROP TABLE t;", {"ban-drop-table": "Error"}),
        ("ALTER TABLE t RENAME COLUMN a TO b;", {"renaming-column": "Error"}),
        ("ALTER TABLE t RENAME TO u;", {"renaming-table": "Error"}),
    ],
)
async def test_squawk_finds_in_an_expand(sql: str, expected: dict[str, str]) -> None:
    assert await found(sql) == expected


@pytest.mark.parametrize(
    "sql", ["ALTER TABLE t DROP COLUMN a;", "DROP TABLE t;", "ALTER TABLE t RENAME COLUMN a TO b;"]
)
async def test_what_a_contract_is_for_is_no_finding_in_one(sql: str) -> None:
    assert await found(sql, "contract") == {}


async def test_a_lock_that_a_contract_takes_for_long_is_one() -> None:
    assert await found("CREATE INDEX i ON t (a);", "contract") == {"require-concurrent-index-creation": "Warning"}


async def test_sql_that_is_none_is_an_error() -> None:
    assert await found("SELEC 1;") == {"syntax-error": "Error"}


async def test_findings_name_their_revision_once_for_each_rule() -> None:
    index = "CREATE INDEX i ON t (a); CREATE INDEX j ON t (b);"

    findings = await lint([planned(index, name="0002"), planned(None, name="0003"), planned(index, name="0004")])

    assert [(one.revision, one.rule) for one in findings] == [
        ("0002", "require-concurrent-index-creation"),
        ("0004", "require-concurrent-index-creation"),
    ]


async def test_of_too_many_findings_errors_and_every_rule_are_kept() -> None:
    index = [planned("CREATE INDEX i ON t (a);", name=f"r{n}") for n in range(101)]

    findings = await lint([*index, planned("CREATE TABLE t (a varchar(9));"), planned("DROP TABLE t;")])

    assert len(findings) == 100
    assert findings[0].level == "Error"
    assert {one.rule for one in findings[1:3]} == {"require-concurrent-index-creation", "prefer-text-field"}


def program(folder: Path, code: str) -> Path:
    path = folder / "squawk"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


async def test_no_squawk_is_not_taken_for_no_findings(tmp_path: Path) -> None:
    with pytest.raises(LintError, match="can't be started") as raised:
        await lint([planned("SELECT 1;")], squawk=tmp_path / "squawk")
    assert raised.value.trouble.reason == "LintFailed"


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(101)",
        "print('[]'); raise SystemExit(1)",
        "print('[1]')",
        "print('oops')",
        "print('{}')",
        "",
        'print(\'[{"rule_name": "x"}]\'); raise SystemExit(1)',
    ],
)
async def test_a_squawk_that_crashes_or_says_something_else_is_not_either(tmp_path: Path, code: str) -> None:
    with pytest.raises(LintError):
        await lint([planned("SELECT 1;")], squawk=program(tmp_path, code))


async def test_a_squawk_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(LintError, match=r"more than 0\.2 s"):
        await lint([planned("SELECT 1;")], squawk=program(tmp_path, "import signal; signal.pause()"), timeout=0.2)
