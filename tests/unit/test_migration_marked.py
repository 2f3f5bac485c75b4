"""Marked lines: whole, bounded, and the same plan again when they are read."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.migrations import marked
from slipway.migrations.inspection import Place, Plan
from slipway.migrations.offline import RevisionSql
from slipway.migrations.plan import Steps
from slipway.migrations.progress import Waiting, Working
from slipway.migrations.runner import Outcome
from slipway.migrations.script import Revision


def fields(line: str) -> dict[str, Any]:
    assert line.startswith("slipway.dev/v1 {")
    assert "\n" not in line
    assert len(line.encode()) + 1 <= 8 * 1024
    found = json.loads(line.removeprefix("slipway.dev/v1 "))
    assert isinstance(found, dict)
    return found


def read(lines: list[str]) -> dict[str, Any]:
    parts = [fields(line) for line in lines]
    assert [(part["type"], part["part"], part["parts"]) for part in parts] == [
        ("plan", number, len(lines)) for number in range(1, len(lines) + 1)
    ]
    found = json.loads(zlib.decompress(b"".join(base64.b64decode(part["data"], validate=True) for part in parts)))
    assert isinstance(found, dict)
    return found


def a_plan(*sql: str | None) -> Plan:
    parts = tuple(RevisionSql(Revision(f"{number}", "expand", "é"), text) for number, text in enumerate(sql))
    revisions = tuple(part.revision for part in parts)
    return Plan(("a", "b"), "z", Steps(revisions, ()), parts, Place("7", "db"), frozenset({"0", "other"}), ("other",))


def noise(characters: int) -> str:
    return random.Random(7).randbytes(characters // 2).hex()  # noqa: S311 - only has to be hard to compress


def test_a_plan_comes_back_as_it_was_with_digests_over_what_is_not_shown() -> None:
    sql = "INSERT INTO a VALUES ('secret')"
    document = read(marked.plan_lines(marked.plan_document(a_plan(sql, None), literals=False)))
    assert document == {
        "version": 1,
        "database": {"system": "7", "name": "db"},
        "current": "a,b",
        "target": "z",
        "partial": True,
        "foreign": ["other"],
        "revisions": [
            {
                "id": "0",
                "kind": "expand",
                "message": "é",
                "sql": "INSERT INTO a VALUES ('…')",
                "sql_digest": hashlib.sha256(sql.encode()).hexdigest(),
                "announced": True,
            },
            {"id": "1", "kind": "expand", "message": "é", "sql": None, "sql_digest": None, "announced": False},
        ],
    }


def test_literals_are_shown_on_request() -> None:
    document = marked.plan_document(a_plan("INSERT INTO a VALUES ('x')"), literals=True)
    assert document["revisions"][0]["sql"] == "INSERT INTO a VALUES ('x')"


@pytest.mark.parametrize("size", [0, 100, 50_000, 900_000])
def test_a_large_plan_is_told_in_pieces(size: int) -> None:
    document = marked.plan_document(a_plan(noise(size)), literals=True)
    lines = marked.plan_lines(document)
    assert len(lines) <= 200
    assert (len(lines) > 1) == (size > 10_000)
    assert read(lines) == document


@pytest.mark.parametrize("large", ["SELECT " + "x" * 5 * 1024 * 1024, noise(3_000_000)], ids=["long", "hard to pack"])
def test_sql_that_is_too_long_is_left_out_and_the_plan_is_partial(large: str) -> None:
    document = read(marked.plan_lines(marked.plan_document(a_plan("SELECT 1", large), literals=False)))
    assert document["partial"] is True
    assert [revision["sql"] for revision in document["revisions"]] == [
        "SELECT 1",
        f"-- {len(large)} characters of SQL are too many to be shown here.",
    ]
    assert document["revisions"][1]["sql_digest"] == hashlib.sha256(large.encode()).hexdigest()


def test_a_plan_of_too_many_revisions_is_refused() -> None:
    with pytest.raises(ValueError, match="60000 revisions is too large"):
        marked.plan_lines(marked.plan_document(a_plan(*["-- x"] * 60_000), literals=False))


@given(st.text())
def test_a_message_of_any_length_and_content_makes_one_short_line(message: str) -> None:
    for text in (message, message * 2000):
        for line in (
            marked.failed_line("MigrationFailed", text, lasting=False),
            marked.event_line(Working(text)),
            marked.event_line(Waiting("WaitingForLock", text)),
        ):
            assert len(line.encode("ascii")) < 2048
            assert fields(line)["message"][:1] == text[:1]


def test_lines_are_as_the_operator_reads_them() -> None:
    assert marked.event_line(Waiting("WaitingForRunner", "m")) == (
        'slipway.dev/v1 {"type":"waiting","reason":"WaitingForRunner","message":"m"}'
    )
    assert marked.event_line(Working("m")) == 'slipway.dev/v1 {"type":"working","message":"m"}'
    assert marked.failed_line("MultipleHeads", "m", lasting=True) == (
        'slipway.dev/v1 {"type":"failed","reason":"MultipleHeads","message":"m","lasting":true}'
    )
    assert marked.done_line(Outcome(("a",), ("b",), ("a",))) == (
        'slipway.dev/v1 {"type":"done","current":"a","applied":["a"],"held_back":["b"]}'
    )


def test_of_many_revisions_the_last_line_names_the_last() -> None:
    names = tuple(f"{number:032}" for number in range(1000))
    done = fields(marked.done_line(Outcome(names, names, names[-1:])))
    assert (len(done["applied"]), done["applied"][-1], done["held_back"][-1]) == (100, names[-1], names[-1])
