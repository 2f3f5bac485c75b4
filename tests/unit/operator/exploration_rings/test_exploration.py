"""Every interleaving of a small world, walked with the real `decide` of key rings."""

from __future__ import annotations

import sys
from time import process_time

import pytest

from slipway_operator.keyrings.decide import decide
from unit.operator.exploration_rings.explorer import explore

BOUND = 1_500_000
"""States; reaching it is a failure, because then nothing is proved."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("young", "disturbances"), [(False, 2), (True, 1)])
def test_no_interleaving_refuses_a_valid_token_brings_back_a_revoked_key_or_loses_the_way_to_an_end(
    young: bool,  # noqa: FBT001 - a parameter of the test
    disturbances: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Disturbances: a rotation, a revoke, kills, empty lists, replaced pods, edited and deleted Secrets, in any mixture.
    started = process_time()
    found = explore(decide, disturbances, bound=BOUND, young=young)
    with capsys.disabled():
        print(  # noqa: T201 - the proof's size is part of the proof
            f"\nexploration of {'young' if young else 'grown'} key rings, up to {disturbances} disturbances: "
            f"{found.states} states, {found.transitions} moves, {found.ends} ends, {process_time() - started:.0f} s",
            file=sys.stderr,  # which a worker of a parallel run shares with it
        )
    assert found.fault is None, found.told()
    assert found.ends > 0
