"""Every interleaving of a small world, walked with the real `decide`."""

from __future__ import annotations

import sys
from time import process_time

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.model import Approval
from unit.operator.exploration.explorer import explore
from unit.operator.exploration.moves import Operator
from unit.operator.walking import TooManyStatesError

BOUND = 1_500_000
"""States; reaching it is a failure, because then nothing is proved."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("approval", "backup", "disturbances"),
    [("Never", None, 2), ("Destructive", None, 1), ("Never", "nightly", 1)],
)
def test_no_interleaving_breaks_a_pod_runs_two_jobs_or_loses_the_way_to_an_end(
    approval: Approval, backup: str | None, disturbances: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # Disturbances are failed Jobs, crashes, evictions, undone rollouts, changed images and empty lists, in any mixture.
    started = process_time()
    found = explore(Operator(decide, approval, backup), disturbances, bound=BOUND)
    with capsys.disabled():
        print(  # noqa: T201 - the proof's size is part of the proof
            f"\nexploration: approval {approval}, backup {backup or 'none'}, up to {disturbances} disturbances: "
            f"{found.states} states, {found.transitions} transitions, {found.ends} ends, "
            f"{process_time() - started:.0f} s",
            file=sys.stderr,  # which a worker of a parallel run shares with it
        )
    assert found.fault is None, found.told()
    assert found.ends > 0


def test_a_walk_that_meets_its_bound_proves_nothing() -> None:
    with pytest.raises(TooManyStatesError):
        explore(Operator(decide), 0, bound=100)
