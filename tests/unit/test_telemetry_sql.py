"""What is told of a statement."""

from __future__ import annotations

import pytest

from slipway.telemetry.sql import LONGEST_STATEMENT, statement_name, without_values


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT a FROM b WHERE c = 'x' AND d=12 LIMIT 3", "SELECT a FROM b WHERE c = … AND d=… LIMIT …"),
        ("SELECT 'it''s', E'it\\'s', b'01', X'ff', N'x', 'a'::text", "SELECT …, …, …, …, …, …::text"),
        ("DO $$ secret $$; DO $a$ secret $$ $a$; SELECT 1", "DO …; DO …; SELECT …"),
        ("NOTIFY jobs, 'secret'", "NOTIFY jobs, …"),
        ("SELECT 1 -- secret\n, 2 /* secret */", "SELECT … … , … …"),
        ("SELECT 'unfinished secret", "SELECT …"),
        ('SELECT "it\'s", t2.c3, a1 FROM "x""y" WHERE z = $1', 'SELECT "it\'s", t2.c3, a1 FROM "x""y" WHERE z = $1'),
        ("INSERT INTO a VALUES ($1::UUID, $12) RETURNING b", "INSERT INTO a VALUES ($1::UUID, $12) RETURNING b"),
        ("SET LOCAL statement_timeout = 9999", "SET LOCAL statement_timeout = …"),
        ("SELECT -1.5e3, 0x1f, .5", "SELECT -…, …, .…"),
    ],
)  # fmt: skip
def test_values_in_a_statement_are_not_shown_and_all_else_is(statement: str, shown: str) -> None:
    assert without_values(statement) == shown


def test_a_long_statement_is_cut_before_it_is_looked_at() -> None:
    shown = without_values("SELECT '" + "x" * LONGEST_STATEMENT + "', secret")
    assert shown == "SELECT …"


@pytest.mark.parametrize("piece", ["'", '"', "$", "$$", "/*", "--", "E'\\", "a$", "1."])
def test_no_statement_takes_long_to_look_at(piece: str) -> None:
    assert len(without_values(piece * 500_000)) <= LONGEST_STATEMENT


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT items.id FROM items WHERE items.id = $1", "SELECT items"),
        ('INSERT INTO "users" (id) VALUES ($1)', "INSERT users"),
        ("update items SET title=$1", "UPDATE items"),
        ("DELETE FROM sessions", "DELETE sessions"),
        ("SELECT 1", "SELECT"),
        ("", "SQL"),
    ],
)
def test_a_statement_is_named_by_what_it_does_to_which_table(statement: str, name: str) -> None:
    assert statement_name(statement) == name
