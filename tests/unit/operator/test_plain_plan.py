"""What goes out of a plan of an image with plain Alembic: as much as the operator reads, and no more."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from plain_plan import packed, plain
from slipway_operator.migrations.report import DOCUMENT_LIMIT, PARTS_LIMIT


def document(*statements: str | None) -> dict[str, Any]:
    revisions = [
        {"id": f"{number:04}", "kind": "expand", "sql": sql, "sql_digest": None if sql is None else "d"}
        for number, sql in enumerate(statements, 1)
    ]
    return {"version": 1, "revisions": revisions}


def noise(size: int) -> str:
    return hashlib.shake_256(b"5").hexdigest(size // 2)


def shown(told: dict[str, Any]) -> list[bool]:
    return [one["sql"] is not None for one in told["revisions"]]


def test_a_small_plan_goes_out_whole_in_one_piece() -> None:
    told, pieces = packed(document("SELECT 1", "SELECT 2"))
    assert (shown(told), told["partial"], len(pieces)) == ([True, True], False, 1)


def test_pieces_are_of_six_thousand_characters_and_the_last_is_the_rest() -> None:
    _, pieces = packed(document(noise(60_000)))
    assert {len(piece) for piece in pieces[:-1]} == {6000}
    assert 0 < len(pieces[-1]) <= 6000
    assert len(pieces) > 5


def test_without_revisions_there_is_one_piece_too() -> None:
    told, pieces = packed(document())
    assert (told["partial"], len(pieces), plain(told)) == (False, 1, "-- nothing to do")


def test_a_document_as_large_as_the_operator_reads_is_whole_and_one_byte_more_leaves_the_longest_sql_out() -> None:
    rest = len(json.dumps(packed(document("SELECT 1", ""))[0], separators=(",", ":")))
    fitting = "x" * (DOCUMENT_LIMIT - rest)
    whole, _ = packed(document("SELECT 1", fitting))
    assert (shown(whole), whole["partial"]) == ([True, True], False)
    partial, _ = packed(document("SELECT 1", fitting + "x"))
    assert (shown(partial), partial["partial"]) == ([True, False], True)
    assert partial["revisions"][1]["sql_digest"] is None


def test_what_takes_more_lines_than_the_operator_reads_leaves_the_longest_sql_out() -> None:
    tried = 1_500_000  # nearly as much as fits
    a_line = tried / (sum(len(piece) for piece in packed(document("SELECT 1", noise(tried)))[1]) / 6000)
    fitting, pieces = packed(document("SELECT 1", noise(int(a_line * (PARTS_LIMIT - 0.3)))))
    assert (shown(fitting), len(pieces)) == ([True, True], PARTS_LIMIT)
    told, pieces = packed(document("SELECT 1", noise(int(a_line * (PARTS_LIMIT + 0.5)))))
    assert (shown(told), len(pieces)) == ([True, False], 1)


def test_sql_is_left_out_one_by_one_until_it_fits_and_a_plan_without_any_goes_out_as_it_is() -> None:
    half = "x" * (DOCUMENT_LIMIT // 2)
    told, _ = packed(document(half + "y", half, "SELECT 1"))
    assert shown(told) == [False, True, True]
    many = document(*[None] * 3)
    many["note"] = "x" * DOCUMENT_LIMIT
    told, pieces = packed(many)
    assert (shown(told), told["partial"], bool(pieces)) == ([False] * 3, True, True)


def test_people_read_each_revision_under_its_id_and_which_read_the_database() -> None:
    told, _ = packed(document("SELECT 1", None))
    assert plain(told) == "-- 0001 expand\nSELECT 1\n\n-- 0002 expand\n-- It reads the database."
