from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.migrations import marked as marked_lines
from slipway_operator.migrations.report import DOCUMENT_LIMIT, UnreadableError, failure, progress, report
from unit.operator.migration_objects import IMAGE_ID, marked, plan_document, plan_lines, plan_log, revision


def test_a_plan_is_read_out_of_a_log_with_other_lines() -> None:
    told = report(plan_log(revision("0002"), revision("0003", "contract", None), foreign=["00aa"], partial=True))

    assert [(one.revision.id, one.revision.kind, one.sql) for one in told.planned] == [
        ("0002", "expand", "SELECT 1;"),
        ("0003", "contract", None),
    ]
    assert (told.system, told.database, told.current, told.target) == ("7301", "shop", "0001", "0003")
    assert (told.foreign, told.partial) == (("00aa",), True)


def test_a_plan_in_many_parts_is_put_together() -> None:
    noise = hashlib.shake_256(b"1").hexdigest(60_000)
    lines = plan_lines(plan_document(revision("0002", sql=noise)))

    assert len(lines) > 5
    assert report("\n".join(lines)).planned[0].sql == noise


@pytest.mark.parametrize("size", [10, 20_000, 3_000_000])
def test_what_the_services_own_command_writes_is_read(size: int) -> None:
    noise = hashlib.shake_256(b"3").hexdigest(size)
    document = plan_document(revision("0002", sql=f"SELECT '{noise}';"), revision("0003", "contract", None))

    told = report("\n".join(marked_lines.plan_lines(document)))

    assert [one.revision.id for one in told.planned] == ["0002", "0003"]
    assert told.partial is (size > 1_000_000)


def test_a_login_that_may_not_read_the_system_identifier_can_plan() -> None:
    assert report(plan_log(database={"system": "", "name": "shop"})).system == ""


def test_a_plan_with_nothing_to_do_is_one() -> None:
    assert report(plan_log()).planned == ()


def bomb() -> str:
    data = base64.b64encode(zlib.compress(b"0" * (DOCUMENT_LIMIT + 1))).decode()
    return marked({"type": "plan", "part": 1, "parts": 1, "data": data})


LINES = plan_lines(plan_document(revision("0002", sql=hashlib.shake_256(b"2").hexdigest(9000))))
WRONG: dict[str, Callable[[], str]] = {
    "no plan": lambda: "all is well",
    "a part is missing": lambda: "\n".join(LINES[:-1]),
    "a part is doubled": lambda: "\n".join([LINES[0], *LINES]),
    "out of order": lambda: "\n".join(reversed(LINES)),
    "too many parts": lambda: marked({"type": "plan", "part": 1, "parts": 201, "data": "AAAA"}),
    "no base64": lambda: marked({"type": "plan", "part": 1, "parts": 1, "data": "%%%"}),
    "no zlib": lambda: marked({"type": "plan", "part": 1, "parts": 1, "data": "AAAA"}),
    "cut short": lambda: marked(
        {"type": "plan", "part": 1, "parts": 1, "data": base64.b64encode(zlib.compress(b"{}")[:-2]).decode()}
    ),
    "too large": bomb,
    "no object": lambda: "\n".join(plan_lines([1])),
    "another version": lambda: plan_log(version=2),
    "an id that is none": lambda: plan_log(revision("two words")),
    "an id with a colon": lambda: plan_log(revision("0002:x")),
    "an id twice": lambda: plan_log(revision("0002"), revision("0002")),
    "another kind": lambda: plan_log(revision("0002", "destroy")),
    "SQL without digest": lambda: plan_log(revision("0002", sql_digest=None)),
    "a digest that is none": lambda: plan_log(revision("0002", sql_digest="x")),
    "announced is no boolean": lambda: plan_log(revision("0002", announced="no")),
    "no database": lambda: plan_log(database=None),
    "a nameless database": lambda: plan_log(database={"system": "1", "name": ""}),
    "too many revisions": lambda: plan_log(*(revision(f"r{n}") for n in range(1001))),
    "a line that is too long": lambda: plan_lines(plan_document(revision("0002")))[0] + " " * 8192,
}


@pytest.mark.parametrize("log", WRONG.values(), ids=WRONG)
def test_what_is_no_plan_is_refused(log: Callable[[], str]) -> None:
    with pytest.raises(UnreadableError) as raised:
        report(log())
    assert raised.value.trouble.reason == "PlanUnreadable"


@given(st.text(max_size=200), st.binary(max_size=200))
def test_whatever_a_log_holds_it_is_a_plan_or_refused(text: str, data: bytes) -> None:
    part = marked({"type": "plan", "part": 1, "parts": 1, "data": base64.b64encode(zlib.compress(data)).decode()})
    for log in (text, f"slipway.dev/v1 {text}", part):
        with pytest.raises(UnreadableError):
            report(log)
        assert failure(log) is None
        assert progress(log) is None


def digest(image_id: str = IMAGE_ID, *revisions: dict[str, Any], **fields: Any) -> str:
    return report(plan_log(*(revisions or (revision("0002"),)), **fields)).plan(image_id, (), None).digest


def test_the_digest_is_the_same_for_the_same_plan_and_another_for_any_other() -> None:
    others = [
        digest("another@sha256:1"),
        digest(IMAGE_ID, revision("0002", sql="SELECT 2;")),
        digest(IMAGE_ID, revision("0002"), revision("0003")),
        digest(IMAGE_ID, revision("0002", sql=None)),
        digest(current="0000"),
        digest(database={"system": "7302", "name": "shop"}),
        digest(database={"system": "7301", "name": "stop"}),
    ]

    assert digest() == digest()
    assert digest().startswith("sha256:")
    assert len({digest(), *others}) == len(others) + 1


def test_the_order_of_revisions_counts() -> None:
    one, two = revision("0002"), revision("0003")

    assert digest(IMAGE_ID, one, two) != digest(IMAGE_ID, two, one)


def test_people_get_the_sql_under_headings_that_a_message_cannot_break_out_of() -> None:
    told = report(plan_log(revision("0002", message="a\nDROP TABLE b;"), revision("0003", sql=None)))

    assert told.sql == (
        "-- 0002 (expand) a DROP TABLE b;\nSELECT 1;\n\n"
        "-- 0003 (expand) a change\n-- It reads the database, so its SQL can't be told beforehand.\n"
    )


def test_a_failed_command_tells_why_in_its_last_line() -> None:
    waiting = marked({"type": "waiting", "reason": "WaitingForLock", "message": "pid 1"})
    failed = marked({"type": "failed", "reason": "ReleaseSkipped", "message": "Deploy\n0.2 first.", "lasting": True})

    found = failure(f"{waiting}\nTraceback\n{failed}\n")

    assert found is not None
    assert (found.reason, found.message, found.lasting) == ("ReleaseSkipped", "Deploy 0.2 first.", True)
    assert failure(waiting) is None
    assert failure(f"{failed}\n{waiting}") is None


@pytest.mark.parametrize(
    "line",
    [
        {"type": "failed", "reason": "not a reason", "message": "x"},
        {"type": "failed", "reason": "A" * 65, "message": "x"},
        {"type": "failed", "reason": "Fine"},
        {"type": "failed", "reason": 1, "message": "x"},
    ],
)
def test_a_reason_that_a_condition_could_not_hold_is_none(line: dict[str, Any]) -> None:
    assert failure(marked(line)) is None


def test_a_running_command_shows_what_it_waits_for_until_it_works_again() -> None:
    waiting = marked({"type": "waiting", "reason": "WaitingForRunner", "message": "pid 1"})
    working = marked({"type": "working", "message": "0002 is done"})

    found = progress(f"{working}\n{waiting}\nother output")

    assert found is not None
    assert (found.reason, found.lasting) == ("WaitingForRunner", False)
    assert progress(f"{waiting}\n{working}") is None


def test_a_long_message_is_cut() -> None:
    found = failure(marked({"type": "failed", "reason": "StatementFailed", "message": "x" * 5000}))

    assert found is not None
    assert len(found.message) == 1024
