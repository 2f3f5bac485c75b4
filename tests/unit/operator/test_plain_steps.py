"""What each visit of the script for images with plain Alembic writes into the ledger, and which revision it runs."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any, cast

import pytest

import plain_runner
from plain_database import ANNOUNCE, CREATE, DELETE, RECORD
from plain_decisions import Revision, Row
from plain_image import Image, digest
from plain_output import Failure, Output
from plain_runner import Runner

A, C = Revision("a", "expand", "", ()), Revision("c", "expand", "", ("b",))
B = Revision("b", "contract", "", ("a",))
CHAIN = (A, B, C)
NAMES = {RECORD: "record", DELETE: "delete", ANNOUNCE: "announce"}


def row(id_: str, kind: str = "expand", *, announced: bool = False, applied: bool = True) -> Row:
    return Row(id_, kind, announced, applied)


class Visits:
    """A runner beside a database that isn't there: what it writes, executes and says is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *chain: Revision, **options: Any) -> None:
        self.written: list[tuple[str, str, str | None]] = []
        self.executed: list[str] = []
        self.said: list[str] = []
        self.ledger: str | None = "slipway_ledger"
        self.watched: list[Any] = []
        monkeypatch.setattr(plain_runner, "write", self._write)
        monkeypatch.setattr(plain_runner, "Watch", lambda _, tell: self.watched.append(tell))
        wish = {"patience": 0.0, "expect": [], "phase": "all", "marked": True, **options}
        image = SimpleNamespace(chain=chain or CHAIN, sql=lambda one: f"SQL of {one.id}")
        output = SimpleNamespace(say=lambda message, _="": self.said.append(message))
        self.runner = Runner(cast("Image", image), cast("Output", output), argparse.Namespace(**wish))
        connection = SimpleNamespace(scalar=lambda _: self.ledger, execute=lambda what: self.executed.append(str(what)))
        self.context = SimpleNamespace(
            connection=connection, _ensure_version_table=lambda: self.executed.append("versions"),
            on_version_apply_callbacks=("theirs",),
        )  # fmt: skip

    def _write(self, _: Any, statement: str, revision: str, kind: str | None = None) -> None:
        self.written.append((NAMES[statement], revision, kind))

    def step(self, heads: tuple[str, ...], *rows: Row) -> str:
        self.runner.heads = heads
        return self.runner._step(self.context, rows)  # noqa: SLF001 - what a visit does as the only runner

    def prepare(self, heads: tuple[str, ...], *rows: Row) -> list[str]:
        self.runner.heads = heads
        return [one.id for one in self.runner.prepare(self.context, rows)]


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Visits:
    return Visits(monkeypatch)


def test_a_ledger_is_made_once_and_every_gate_may_read_it(visits: Visits) -> None:
    assert visits.prepare(("a",), row("a")) == ["b", "c"]
    assert visits.executed == ["versions"]
    visits.ledger = None
    visits.prepare(("a",), row("a"))
    assert visits.executed[1:] == ["versions", CREATE, "GRANT SELECT ON slipway_ledger TO PUBLIC"]
    assert visits.written == []


@pytest.mark.parametrize(
    ("heads", "rows", "written"),
    [
        (("b",), (), [("record", "a", "expand"), ("record", "b", "contract")]),
        (("b",), (row("a"), row("b", "contract", applied=False)), [("record", "b", "contract")]),
        (("a",), (row("a"), row("b", "contract"), row("c")), [("delete", "b", None), ("delete", "c", None)]),
        ((), (row("a"),), [("delete", "a", None)]),
        (("later",), tuple(row(one.id) for one in CHAIN), []),
    ],
)
def test_the_ledger_is_made_to_agree_with_alembic_s_own_table(
    visits: Visits, heads: tuple[str, ...], rows: tuple[Row, ...], written: list[Any]
) -> None:
    visits.prepare(heads, *rows)
    assert visits.written == written


def test_what_is_announced_are_the_contracts_that_are_left(visits: Visits) -> None:
    visits.runner.heads = ("a",)
    assert visits.runner.announce(visits.context, (row("a"),)) == ""
    assert (visits.written, visits.runner.held_back) == ([("announce", "b", "contract")], ["b"])


def test_what_is_withdrawn_is_what_another_image_announced(visits: Visits) -> None:
    visits.runner.heads = ("a",)
    strange, own = (row(id_, "contract", announced=True, applied=False) for id_ in "zb")
    assert visits.runner.withdraw(visits.context, (row("a"), strange, own)) == ""
    assert (visits.written, visits.runner.held_back) == ([("delete", "z", None)], ["b"])


def test_the_first_that_is_pending_runs_and_is_recorded_with_its_version(visits: Visits) -> None:
    assert visits.step((), row("x", applied=False)) == "a"
    assert visits.said == ["Revision a runs."]
    assert (visits.runner._running, visits.runner._finished) == (A, False)  # noqa: SLF001
    theirs, record = visits.context.on_version_apply_callbacks
    assert (theirs, visits.written) == ("theirs", [])
    record(visits.context, step=None)
    assert visits.written == [("record", "a", "expand")]
    (tell,) = visits.watched
    tell("pid 7")
    assert visits.said[-1] == "Revision a waits for a lock that is held by pid 7."


def test_on_an_empty_database_contracts_run_with_the_rest_though_they_are_held_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = Visits(monkeypatch, phase="expand")
    assert empty.step(()) == "a"
    assert empty.runner.held_back == []
    empty.runner.applied = ["a"]
    assert empty.step(("a",), row("a"), row("b", "contract", announced=True, applied=False)) == "b"
    used = Visits(monkeypatch, A, B, phase="expand")
    assert used.step(("a",), row("a")) == ""
    assert (used.runner.held_back, used.runner._finished) == (["b"], True)  # noqa: SLF001
    with pytest.raises(Failure, match="comes before c"):
        Visits(monkeypatch, phase="expand").step(("a",), row("a"))


def test_a_contract_is_announced_in_a_visit_of_its_own_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = Visits(monkeypatch, marked=False)
    assert by_hand.step(("a",), row("a")) == ""
    assert by_hand.written == [("announce", "b", "contract")]
    assert by_hand.said == []
    assert by_hand.step(("a",), row("a"), row("b", "contract", announced=True, applied=False)) == "b"


def test_who_was_sent_by_the_operator_runs_no_contract_that_is_announced_no_more(visits: Visits) -> None:
    with pytest.raises(Failure, match="isn't announced any more"):
        visits.step(("a",), row("a"))
    assert visits.step(("a",), row("a"), row("b", "contract", announced=True, applied=False)) == "b"


def test_nothing_pending_ends_it(visits: Visits) -> None:
    assert visits.step(("c",), *(row(one.id) for one in CHAIN)) == ""
    assert visits.runner._finished  # noqa: SLF001 - else it would look for ever
    assert visits.watched == []


@pytest.mark.parametrize(("expected", "runs"), [(digest("SQL of a"), True), (digest("other"), False), (None, False)])
def test_only_what_was_planned_runs(monkeypatch: pytest.MonkeyPatch, expected: str | None, *, runs: bool) -> None:
    expect = [("a", expected)] if expected else [("b", digest("SQL of b"))]
    found = Visits(monkeypatch, A, expect=expect)
    found.runner._digests = {"a": digest("SQL of a")}  # noqa: SLF001 - as an upgrade finds them before
    if runs:
        assert found.step(()) == "a"
        return
    with pytest.raises(Failure, match="Revision a isn't what was planned") as raised:
        found.step(())
    assert (raised.value.reason, raised.value.lasting) == ("PlanChanged", False)


def test_a_revision_that_env_py_did_not_commit_is_told_and_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    visits = Visits(monkeypatch, A)
    visits.runner.applied = ["a"]
    with pytest.raises(Failure, match=r"Revision a ran, but env\.py didn't commit it") as raised:
        visits.step(())
    assert raised.value.reason == "MigrationFailed"


def test_digests_are_looked_for_only_where_something_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    for expect, known in (([], {}), ([("a", "x")], {one.id: digest(f"SQL of {one.id}") for one in CHAIN})):
        found = Visits(monkeypatch, expect=expect)
        found.runner._finished = True  # noqa: SLF001 - no visit
        found.runner.upgrade()
        assert found.runner._digests == known  # noqa: SLF001
