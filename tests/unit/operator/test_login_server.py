"""An admin's Secret that leads to another server: nothing is changed on either until a person says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import Memory, PrepareRoles, RoleSeen
from slipway_operator.logins.status import document, memory_of
from unit.operator.test_login_decide import BOTH, FIRST, MEMORY, NOW, REST, ROTATING, database

EMPTY = (RoleSeen("a", exists=False), RoleSeen("b", exists=False))
KNOWN = replace(REST, memory=replace(MEMORY, server="7301"), database=replace(database(), server="7301"))
ELSEWHERE = replace(KNOWN, database=replace(database(roles=EMPTY, logs_in=False), server="7399"))


def test_the_same_server_at_another_address_is_no_other() -> None:
    assert decide(KNOWN, NOW).verdict.reason == "Stable"


def test_another_server_stalls_and_says_how_to_accept_it() -> None:
    decision = decide(ELSEWHERE, NOW)

    assert (decision.verdict.state, decision.verdict.reason, decision.effect) == ("Stalled", "ServerChanged", None)
    for part in ("7301", "7399", "kubectl annotate --overwrite databaselogin shop slipway.dev/server=7399"):
        assert part in decision.verdict.message
    assert decision.memory == KNOWN.memory, "what another server shows is no evidence"


def test_nothing_is_done_there_in_the_middle_of_a_rotation_either() -> None:
    turning = replace(
        ROTATING,
        memory=replace(ROTATING.memory, server="7301"),
        database=replace(database(logs_in=False), server="7399"),
    )

    assert decide(turning, NOW).effect is None


def test_a_persons_word_lets_it_go_on_with_that_server_alone() -> None:
    accepted = decide(replace(ELSEWHERE, accepted_server="7399"), NOW)
    another = decide(replace(ELSEWHERE, accepted_server="7400"), NOW)

    assert (accepted.effect, accepted.memory.server) == (PrepareRoles(("a", "b")), "7399")
    assert another.verdict.reason == "ServerChanged"


@pytest.mark.parametrize("known", ["", "7301"])
def test_before_a_role_has_taken_over_a_wrong_secret_may_be_corrected(known: str) -> None:
    first = replace(FIRST, memory=Memory(server=known), database=replace(database(roles=BOTH), server="7399"))

    decision = decide(first, NOW)

    assert decision.verdict.reason != "ServerChanged"
    assert decision.memory.server == "7399"


def test_a_status_of_a_release_that_knew_no_servers_takes_the_one_that_is_there() -> None:
    decision = decide(replace(REST, database=replace(database(), server="7301")), NOW)

    assert (decision.verdict.reason, decision.memory.server) == ("Stable", "7301")


def test_a_server_that_tells_nothing_of_itself_is_taken_for_the_same() -> None:
    assert decide(replace(KNOWN, database=database()), NOW).verdict.reason == "Stable"


def test_it_is_remembered_through_the_status_and_through_a_rotation() -> None:
    handed = decide(replace(ROTATING, memory=replace(MEMORY, server="7301"),
                            database=replace(database(), server="7301")), NOW)  # fmt: skip

    assert handed.memory.server == "7301"
    assert memory_of(document(handed, {}, 1, NOW)).server == "7301"
