"""Every interleaving of a database login's small world, walked with the real `decide`."""

from __future__ import annotations

import sys
from time import process_time

import pytest

from unit.operator.exploration_logins.explorer import at_work, beginning, explore
from unit.operator.exploration_logins.world import World

BOUND = 500_000
"""States; reaching it is a failure, because then nothing is proved."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("from nothing, 2 disturbances", beginning(2)),
        ("at work with 2 pods, 2 disturbances", at_work(2, pods=2)),
        ("at work with 1 pod, 3 disturbances", at_work(3, pods=1)),
    ],
)
def test_no_interleaving_locks_a_pod_out_spoils_the_secret_or_loses_the_way_to_one_working_role(
    name: str, start: World, capsys: pytest.CaptureFixture[str]
) -> None:
    # Disturbances are crashes between any two writes, nonces, the schedule, a database that is away, migrations, pods
    # that die or can't be asked, Secrets deleted, emptied, put back or written by hand, and roles dropped.
    started = process_time()
    found = explore(start, bound=BOUND)
    with capsys.disabled():
        print(  # noqa: T201 - the proof's size is part of the proof
            f"\nexploration of logins: {name}: {found.states} states, {found.transitions} transitions, "
            f"{found.ends} ends, {process_time() - started:.0f} s",
            file=sys.stderr,  # which a worker of a parallel run shares with it
        )
    assert found.fault is None, found.told()
    assert found.ends > 0
