"""What an upgrade decides to run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from slipway.migrations.blockers import Blocker, describe_blockers
from slipway.migrations.errors import MigrationError
from slipway.migrations.ledger import LedgerRow, compare
from slipway.migrations.locks import pause_before
from slipway.migrations.plan import decide_steps
from slipway.migrations.script import Chain, Revision


def chain(spelled: str) -> Chain:
    ids = spelled.split()
    return Chain(
        tuple(
            Revision(i, "contract" if i[0] == "c" else "expand", "", (ids[number - 1],) if number else ())
            for number, i in enumerate(ids)
        )
    )


def rows(spelled: str) -> list[LedgerRow]:
    return [
        LedgerRow(i, "contract" if i[0] == "c" else "expand", announced=False, applied=True) for i in spelled.split()
    ]


@dataclass(frozen=True)
class Case:
    name: str
    image: str
    current: str
    phase: str
    run: str
    held_back: str = ""
    target: str = "head"


CASES = [
    Case("fresh database", "e1 e2 c3", "", "all", "e1 e2 c3"),
    Case("fresh database, expand: nobody is there to be broken", "e1 c2 e3 c4", "", "expand", "e1 c2 e3 c4"),
    Case("nothing to do", "e1 e2", "e2", "all", ""),
    Case("skipped releases", "e1 e2 e3 e4", "e1", "expand", "e2 e3 e4"),
    Case("skipped releases with a contract between", "e1 e2 c3 e4", "e1", "all", "e2 c3 e4"),
    Case("trailing contracts stay for later", "e1 e2 c3 c4", "e1", "expand", "e2", "c3 c4"),
    Case("only trailing contracts left", "e1 e2 c3 c4", "e2", "expand", "", "c3 c4"),
    Case("only trailing contracts left, all", "e1 e2 c3 c4", "e2", "all", "c3 c4"),
    Case("a target on the way", "e1 e2 e3", "e1", "all", "e2", target="e2"),
    Case("a target that is behind", "e1 e2 e3", "e3", "all", "", target="e1"),
    Case("an empty image", "", "", "all", ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_upgrade_runs(case: Case) -> None:
    steps = decide_steps(
        chain(case.image),
        tuple(case.current.split()),
        rows(""),
        target=case.target,
        phase=case.phase,  # type: ignore[arg-type]
    )
    assert [revision.id for revision in steps.run] == case.run.split()
    assert [revision.id for revision in steps.held_back] == case.held_back.split()


def test_expand_refuses_to_run_a_contract_on_the_way_to_what_the_image_needs() -> None:
    with pytest.raises(MigrationError, match="Contract c3 comes before e4"):
        decide_steps(chain("e1 e2 c3 e4"), ("e1",), (), phase="expand")


def test_an_older_image_has_nothing_to_do_on_a_database_that_went_ahead() -> None:
    steps = decide_steps(chain("e1 e2"), ("e9",), rows("e1 e2 e9"))
    assert steps.run == ()


def test_an_image_that_a_contract_broke_is_not_told_that_all_is_well() -> None:
    with pytest.raises(MigrationError, match="Contract c3 of a later release was applied") as refused:
        decide_steps(chain("e1 e2"), ("e4",), rows("e1 e2 c3 e4"))
    assert (refused.value.reason, refused.value.lasting) == ("RevisionUnknown", True)


def test_a_database_of_an_unknown_history_is_refused() -> None:
    with pytest.raises(MigrationError, match="at x9, which this image doesn't know"):
        decide_steps(chain("e1 e2"), ("x9",), rows("e1 x9"))


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(MigrationError, match="no revision 'e7'"):
        decide_steps(chain("e1"), (), (), target="e7")


@pytest.mark.parametrize(
    ("current", "applied", "missing", "false"),
    [
        ("", "", "", ""),
        ("e2", "e1 e2", "", ""),
        ("e2", "", "e1 e2", ""),
        ("e3", "e1 e2", "e3", ""),
        ("e1", "e1 e2", "", "e2"),
        ("e2", "e1 e2 x9", "", ""),
    ],
)
def test_the_ledger_is_compared_with_alembics_own_table(current: str, applied: str, missing: str, false: str) -> None:
    image = chain("e1 e2 e3")
    correction = compare(image, image.reached(current.split()), rows(applied))
    assert [revision.id for revision in correction.missing] == missing.split()
    assert list(correction.false) == false.split()


def test_pauses_grow_up_to_a_bound_and_are_jittered() -> None:
    bounds = [(0.25, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (5.0, 10.0), (5.0, 10.0)]
    for attempt, (low, high) in enumerate(bounds, start=2):
        drawn = {pause_before(attempt) for _ in range(20)}
        assert low <= min(drawn) < max(drawn) <= high
    assert pause_before(10_000) <= 10


def test_a_blocker_is_named_by_pid_user_age_and_state() -> None:
    assert (
        str(Blocker(7, "report", "idle in transaction", 61.7)) == "pid 7 (user report, idle in transaction, for 62 s)"
    )
    assert "pg_read_all_stats" in str(Blocker(7, "report", None, None))
    assert describe_blockers(()) == "a session that is gone by now"
    assert all(
        a != b for a, b in itertools.pairwise([describe_blockers((Blocker(n, "a", "active", 1),)) for n in (1, 2)])
    )
