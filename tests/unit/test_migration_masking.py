"""What people see of the SQL of a plan: strings of data statements are hidden, the schema isn't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.migrations import masking
from slipway.migrations.masking import mask_literals

MASKED = [
    ("INSERT INTO a VALUES ('x''y', 5)", "INSERT INTO a VALUES ('…', 5)"),
    (r"INSERT INTO a VALUES (E'a\'b')", "INSERT INTO a VALUES ('…')"),
    ("INSERT INTO a VALUES (U&'d', B'01', X'ff', n'z')", "INSERT INTO a VALUES ('…', '…', '…', '…')"),
    ("INSERT INTO a VALUES ($$q$$, $t$z $$ z$t$)", "INSERT INTO a VALUES ('…', '…')"),
    ("INSERT INTO a VALUES ('one'\n'two')", "INSERT INTO a VALUES ('…'\n'…')"),
    ("update a set b = 'x' where c = $1", "update a set b = '…' where c = $1"),
    ("DELETE FROM a WHERE b = 'x'", "DELETE FROM a WHERE b = '…'"),
    ("MERGE INTO a USING b ON a.x = 'x'", "MERGE INTO a USING b ON a.x = '…'"),
    ("COPY a FROM 'x'", "COPY a FROM '…'"),
    ("WITH x AS (SELECT 'x') INSERT INTO a SELECT * FROM x", "WITH x AS (SELECT '…') INSERT INTO a SELECT * FROM x"),
    ("EXPLAIN ANALYZE DELETE FROM a WHERE b = 'x'", "EXPLAIN ANALYZE DELETE FROM a WHERE b = '…'"),
    ("-- it's\n/* a /* b */ ' */ UPDATE \"it's\" SET b='x'", "-- it's\n/* a /* b */ ' */ UPDATE \"it's\" SET b='…'"),
    ("CREATE TABLE a (b text);\nINSERT INTO a VALUES ('x');", "CREATE TABLE a (b text);\nINSERT INTO a VALUES ('…');"),
    ("DO $$ BEGIN INSERT INTO a VALUES ('x'); END $$", "DO $$ BEGIN INSERT INTO a VALUES ('…'); END $$"),
    ("DO 'BEGIN DELETE FROM a; END'", "DO '…'"),
    ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD '…'"),
    ("CREATE USER MAPPING FOR a SERVER b OPTIONS (p 'x')", "CREATE USER MAPPING FOR a SERVER b OPTIONS (p '…')"),
    ("INSERT INTO a VALUES ('never ended", "INSERT INTO a VALUES ('…'"),
]  # fmt: skip

KEPT = [
    "CREATE TABLE a (b text DEFAULT 'x' CHECK (b <> 'y'))",
    "COMMENT ON TABLE a IS 'insert nothing here'",
    "CREATE TYPE a AS ENUM ('x', 'y')",
    "WITH x AS (SELECT 'x') SELECT * FROM x",
    "CREATE FUNCTION f() RETURNS text AS $$ SELECT 'x; INSERT' $$ LANGUAGE sql",
    "DO $x$ BEGIN RAISE NOTICE 'x'; END $x$",
    "SELECT 'a;b', \"INSERT\"",
    "-- INSERT INTO a VALUES ('x')",
]


@pytest.mark.parametrize(("sql", "shown"), MASKED)
def test_strings_of_data_statements_are_hidden(sql: str, shown: str) -> None:
    assert mask_literals(sql) == shown


@pytest.mark.parametrize("sql", KEPT)
def test_strings_of_the_schema_stay(sql: str) -> None:
    assert mask_literals(sql) == sql


@given(st.text(), st.sampled_from(["INSERT INTO a VALUES ({}, 1)", "UPDATE a SET b = {};", "DELETE FROM a WHERE b={}"]))
def test_whatever_a_string_holds_only_the_mask_is_seen(content: str, statement: str) -> None:
    quoted = "'" + content.replace("'", "''") + "'"
    assert mask_literals(statement.format(quoted)) == statement.format("'…'")


@given(st.text(alphabet="a'$;\"-/*\\E\n ") | st.text())
def test_any_text_is_taken_and_without_data_statements_nothing_changes(sql: str) -> None:
    assert mask_literals(f"CREATE TABLE {sql}").startswith("CREATE TABLE")
    assert "".join(text for tokens in masking._statements(sql) for _, text in tokens) == sql  # noqa: SLF001 - nothing is lost


def test_without_the_data_words_everything_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(masking, "_DATA", frozenset())
    assert mask_literals("INSERT INTO a VALUES ('x')") == "INSERT INTO a VALUES ('x')"
