from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.logins.decide import decide
from slipway_operator.logins.model import (
    DatabaseSeen,
    Decision,
    HandOver,
    Memory,
    Observed,
    PrepareRoles,
    RoleSeen,
    Scramble,
    SecretSeen,
    Session,
    Spec,
    Trouble,
)
from slipway_operator.rotations import Rotation

NOW = 1_000_000.0
DAY = 86_400.0
SPEC = Spec("admin", "app", ("a", "b"), "login", Endpoint("app=app"), 30 * DAY)
SECRET = SecretSeen("a", ours=True, offered=False, intact=True, address_ok=True, cause="Created")
MEMORY = Memory(
    "a", NOW - DAY, scrambled=frozenset({"b"}), history=(Rotation("a", NOW - DAY, "Created", "", 5.0, "Confirmed"),)
)
BOTH = (RoleSeen("a", exists=True, fit=True), RoleSeen("b", exists=True, fit=True))


def pods(*roles: str, wanted: int = 2) -> Consumers:
    reports = tuple(Report(f"p{number}", database_role=role) for number, role in enumerate(roles))
    return Consumers(reports, 0 if reports else wanted, refers=True)


def database(*sessions: Session, logs_in: bool | None = True, roles: tuple[RoleSeen, ...] = BOTH) -> DatabaseSeen:
    return DatabaseSeen(roles, sessions, logs_in)


REST = Observed("shop", SPEC, MEMORY, SECRET, pods("a", "a"), database(Session(1, "a", "app", "idle", NOW - 60)))
FIRST = Observed("shop", SPEC, Memory(), None, pods(), database(logs_in=None))
HANDED = replace(SECRET, role="b", cause="Nonce", nonce="1")
ROTATING = replace(
    REST,
    spec=replace(SPEC, nonce="1"),
    memory=Memory("b", NOW - 10, "1", history=(Rotation("b", NOW - 10, "Nonce", "a"),)),
    secret=HANDED,
    consumers=pods("b", "b"),
)


def told(observed: Observed, now: float = NOW) -> tuple[str, str]:
    verdict = decide(observed, now).verdict
    return verdict.state, verdict.reason


def test_at_rest_nothing_is_done_until_the_next_rotation() -> None:
    decision = decide(REST, NOW)
    assert told(REST) == ("Ready", "Stable")
    assert (decision.effect, decision.memory, decision.look_again) == (None, MEMORY, 300.0)
    assert decision.verdict.next_rotation == NOW + 29 * DAY
    assert decide(REST, NOW + 29 * DAY - 7).look_again == 7.0


def test_a_spec_that_is_refused_stalls_with_its_sentence() -> None:
    decision = decide(replace(REST, spec_fault="It can't hold."), NOW)
    assert (decision.verdict.state, decision.verdict.message) == ("Stalled", "It can't hold.")


def test_suspended_nothing_is_changed_but_what_is_seen_is_taken_in() -> None:
    observed = replace(REST, spec=replace(SPEC, nonce="2", suspend=True), secret=replace(SECRET, role="b"))
    decision = decide(observed, NOW)
    assert told(observed) == ("Suspended", "Suspended")
    assert (decision.effect, decision.memory.role, decision.verdict.next_rotation) == (None, "b", None)


def test_a_secret_of_somebody_else_is_left_alone_and_the_label_is_named() -> None:
    observed = replace(FIRST, secret=replace(SECRET, ours=False))
    decision = decide(observed, NOW)
    assert told(observed) == ("Stalled", "SecretNotOurs")
    assert decision.effect is None
    assert "kubectl label secret login slipway.dev/take-over=shop" in decision.verdict.message


def test_an_offered_secret_is_taken_over_for_the_role_that_it_does_not_hold() -> None:
    observed = replace(FIRST, secret=replace(SECRET, ours=False, offered=True), consumers=pods("a", "a"))
    assert decide(observed, NOW).effect == HandOver("b", "Healed", "")


def test_pods_with_the_login_that_was_taken_over_are_waited_for() -> None:
    observed = replace(FIRST, secret=replace(SECRET, cause="Healed"), consumers=pods("owner", "a"), database=database())
    assert told(observed) == ("Reconciling", "ConsumersLagging")
    assert decide(observed, NOW).nudge == ("p0",)


@pytest.mark.parametrize(("lasting", "state"), [(True, "Stalled"), (False, "Reconciling")])
def test_what_the_database_refuses_is_told_by_its_own_reason(lasting: bool, state: str) -> None:  # noqa: FBT001
    observed = replace(REST, database=None, trouble=Trouble("AdminLacksRights", "Run: GRANT …", lasting))
    decision = decide(observed, NOW)
    assert told(observed) == (state, "AdminLacksRights")
    assert decision.effect is None
    assert decision.look_again == (15.0 if lasting else 2.0)


def test_without_a_look_at_the_database_nothing_is_changed() -> None:
    observed = replace(REST, database=None, spec=replace(SPEC, nonce="1"))
    assert told(observed) == ("Reconciling", "DatabaseUnseen")


def test_at_first_both_roles_are_made() -> None:
    missing = (RoleSeen("a", exists=False), RoleSeen("b", exists=False))
    observed = replace(FIRST, database=database(roles=missing, logs_in=None))
    assert decide(observed, NOW).effect == PrepareRoles(("a", "b"))


def test_then_the_first_role_gets_a_login_and_a_nonce_counts_as_handled() -> None:
    assert decide(replace(FIRST, spec=replace(SPEC, nonce="n")), NOW).effect == HandOver("a", "Created", "n")


def test_the_first_login_is_made_although_no_pod_runs_without_it() -> None:
    assert decide(replace(FIRST, consumers=pods(wanted=3)), NOW).effect == HandOver("a", "Created", "")


def test_the_first_login_is_made_for_the_other_role_where_one_has_sessions() -> None:
    observed = replace(FIRST, database=database(Session(1, "a"), logs_in=None))
    assert decide(observed, NOW).effect == HandOver("b", "Created", "")


def test_a_role_that_does_not_fit_is_mended_and_what_lacks_is_told() -> None:
    unfit = (BOTH[0], RoleSeen("b", exists=True, fit=False, unfit="may not log in"))
    decision = decide(replace(REST, database=database(roles=unfit)), NOW)
    assert decision.effect == PrepareRoles(("b",))
    assert "b (may not log in)" in decision.verdict.message


def test_a_dropped_role_that_is_in_use_is_made_again_and_the_other_takes_over() -> None:
    dropped = replace(REST, database=database(roles=(RoleSeen("a", exists=False), BOTH[1]), logs_in=False))
    first = decide(dropped, NOW)
    assert first.effect == PrepareRoles(("a",))
    after = replace(REST, memory=first.memory, database=database(logs_in=False))
    assert decide(after, NOW).effect == HandOver("b", "Healed", "")


def test_a_role_that_was_dropped_while_idle_is_scrambled_anew() -> None:
    dropped = replace(REST, database=database(roles=(BOTH[0], RoleSeen("b", exists=False))))
    decision = decide(dropped, NOW)
    assert (decision.effect, decision.memory.scrambled) == (PrepareRoles(("b",)), frozenset())
    assert decide(replace(REST, memory=decision.memory), NOW).effect == Scramble("b")


@pytest.mark.parametrize(
    "secret",
    [None, replace(SECRET, intact=False), replace(SECRET, role="", intact=False), replace(SECRET, address_ok=False)],
    ids=["deleted", "edited", "emptied", "with another address"],
)
def test_a_spoiled_secret_is_healed_with_the_role_that_nobody_uses(secret: SecretSeen | None) -> None:
    observed = replace(REST, secret=secret)
    assert decide(observed, NOW).effect == HandOver("b", "Healed", "")


def test_a_secret_from_a_backup_whose_password_is_gone_is_healed() -> None:
    observed = replace(REST, secret=replace(SECRET, role="b"), database=database(logs_in=False))
    decision = decide(observed, NOW)
    assert decision.effect == HandOver("b", "Healed", "")
    assert decision.memory.role == "a"


def test_a_secret_from_a_backup_that_still_works_is_taken_in() -> None:
    observed = replace(REST, secret=replace(SECRET, role="b"), database=database(logs_in=True))
    decision = decide(observed, NOW)
    assert told(observed) == ("Reconciling", "ConsumersLagging")
    assert (decision.memory.role, decision.memory.scrambled) == ("b", frozenset())


def test_a_login_that_a_person_put_there_is_left_until_every_pod_has_it() -> None:
    by_hand = replace(SECRET, role="b", intact=False)
    observed = replace(REST, secret=by_hand)
    assert (told(observed), decide(observed, NOW).effect) == (("Reconciling", "ConsumersLagging"), None)
    followed = replace(observed, consumers=pods("b", "b"), database=database(Session(2, "b")))
    assert decide(followed, NOW).effect == HandOver("a", "Healed", "")


def test_a_role_that_a_pod_tells_of_counts_as_known_to_somebody() -> None:
    observed = replace(REST, secret=None, consumers=pods("a", "b"))
    decision = decide(observed, NOW)
    assert "b" not in decision.memory.scrambled
    assert told(observed) == ("Stalled", "BothRolesInUse")
    assert "delete the pods of one role" in decision.verdict.message


@pytest.mark.parametrize("starting", [True, False])
def test_a_spoiled_secret_is_not_healed_with_a_role_that_a_silent_pod_may_use(starting: bool) -> None:  # noqa: FBT001
    silent = Report("p9", "TimedOut", starting=starting)
    observed = replace(
        REST,
        secret=None,
        consumers=Consumers((*pods("a").reports, silent), refers=True),
        memory=replace(MEMORY, scrambled=frozenset()),
    )
    decision = decide(observed, NOW)
    assert told(observed) == ("Reconciling", "ConsumersLagging")
    assert decision.effect is None
    assert ("is to be deleted" in decision.verdict.message) == starting


def test_a_spoiled_secret_is_healed_past_a_silent_pod_that_only_starts_where_nobody_knows_the_password() -> None:
    silent = Report("p9", "TimedOut", starting=True)
    observed = replace(REST, secret=None, consumers=Consumers((*pods("a").reports, silent), refers=True))
    assert decide(observed, NOW).effect == HandOver("b", "Healed", "")


def test_a_spoiled_secret_waits_for_sessions_of_the_other_role_and_names_them() -> None:
    observed = replace(REST, secret=None, database=database(Session(7, "b", "psql", "idle", NOW - 90), logs_in=None))
    decision = decide(observed, NOW)
    assert told(observed) == ("Reconciling", "OldSessionsStay")
    assert "pid 7 (psql, 90 s old)" in decision.verdict.message
    assert decision.effect is None


@pytest.mark.parametrize(
    ("observed", "now", "cause"),
    [
        (replace(REST, spec=replace(SPEC, nonce="1")), NOW, "Nonce"),
        (REST, NOW + 29 * DAY, "Schedule"),
    ],
    ids=["by nonce", "by schedule"],
)
def test_the_idle_role_takes_over_when_every_pod_uses_the_other(observed: Observed, now: float, cause: Any) -> None:
    decision = decide(observed, now)
    assert decision.effect == HandOver("b", cause, observed.spec.nonce)
    assert "b" not in decision.memory.scrambled
    assert decision.memory.role == "a"


@pytest.mark.parametrize(
    ("consumers", "reason"),
    [
        (Consumers((Report("p0", "TimedOut"),), refers=True), "ConsumersLagging"),
        (Consumers((Report("p0", "TimedOut", starting=True),), refers=True), "ConsumersLagging"),
        (pods("a", ""), "ConsumersLagging"),
        (pods(wanted=2), "AwaitingConsumers"),
    ],
)
def test_a_rotation_that_is_due_waits_for_every_pod(consumers: Consumers, reason: str) -> None:
    observed = replace(REST, spec=replace(SPEC, nonce="1"), consumers=consumers)
    assert (told(observed), decide(observed, NOW).effect) == (("Reconciling", reason), None)


def test_a_rotation_with_no_pod_wanted_needs_none() -> None:
    observed = replace(REST, spec=replace(SPEC, nonce="1"), consumers=pods(wanted=0))
    assert decide(observed, NOW).effect == HandOver("b", "Nonce", "1")


def test_a_rotation_waits_while_the_idle_role_has_a_session() -> None:
    observed = replace(REST, spec=replace(SPEC, nonce="1"), database=database(Session(3, "b", "psql")))
    decision = decide(observed, NOW)
    assert (decision.verdict.state, decision.effect) == ("Reconciling", None)
    assert decision.verdict.old_sessions == (Session(3, "b", "psql"),)


def test_at_rest_a_pod_that_only_cannot_be_asked_holds_nothing_up() -> None:
    observed = replace(REST, consumers=Consumers((*pods("a").reports, Report("p9", "TimedOut")), refers=True))
    assert told(observed) == ("Ready", "Stable")
    assert decide(observed, NOW).verdict.lagging[0].pod == "p9"


def test_at_rest_a_pod_with_the_old_role_is_nudged() -> None:
    observed = replace(REST, consumers=pods("a", "b"))
    assert told(observed) == ("Reconciling", "ConsumersLagging")
    assert decide(observed, NOW).nudge == ("p1",)


def test_a_hand_over_is_taken_in_with_its_cause_and_nonce() -> None:
    observed = replace(REST, spec=replace(SPEC, nonce="1"), secret=HANDED)
    memory = decide(observed, NOW).memory
    assert (memory.role, memory.role_since, memory.handled_nonce) == ("b", NOW, "1")
    assert memory.history == (Rotation("b", NOW, "Nonce", "a"), *MEMORY.history)


def test_a_hand_over_that_overtakes_another_supersedes_it() -> None:
    observed = replace(ROTATING, secret=replace(SECRET, cause="Healed"))
    assert decide(observed, NOW).memory.history == (
        Rotation("a", NOW, "Healed", "b"),
        Rotation("b", NOW - 10, "Nonce", "a", 10.0, "Superseded"),
    )


def test_pods_with_the_old_role_are_named_and_nudged() -> None:
    observed = replace(ROTATING, consumers=pods("a", "b"))
    decision = decide(observed, NOW)
    assert told(observed) == ("Reconciling", "ConsumersLagging")
    assert "p0 (OldRole)" in decision.verdict.message
    assert (decision.nudge, decision.look_again, decision.verdict.confirmed) == (("p0",), 1.0, 1)


def test_a_pod_that_lags_for_long_is_asked_more_seldom() -> None:
    assert decide(replace(ROTATING, consumers=pods("a", "b")), NOW + 900).look_again == 15.0


def test_old_sessions_are_waited_for_and_named_by_age_never_killed() -> None:
    sessions = tuple(Session(pid, "a", "app", "active", NOW - pid) for pid in range(1, 13))
    decision = decide(replace(ROTATING, database=database(*sessions)), NOW)
    assert (decision.verdict.reason, decision.effect) == ("OldSessionsRemain", None)
    assert "Waiting for 12 to end: pid 12 (app, 12 s old), pid 11" in decision.verdict.message
    assert decision.verdict.message.endswith("and 2 more.")
    assert len(decision.verdict.old_sessions) == 12


def test_sessions_that_stay_for_five_minutes_are_told_of_again() -> None:
    observed = replace(ROTATING, database=database(Session(1, "a", "", "idle in transaction")))
    assert told(observed, NOW + 289) == ("Reconciling", "OldSessionsRemain")
    assert told(observed, NOW + 290) == ("Reconciling", "OldSessionsStay")
    assert "pid 1 (no application_name)" in decide(observed, NOW).verdict.message


def test_the_old_role_is_scrambled_once_neither_pod_nor_session_uses_it() -> None:
    decision = decide(idle(ROTATING), NOW)
    assert decision.effect == Scramble("a")
    assert "a" not in decision.memory.scrambled


def idle(observed: Observed) -> Observed:
    return replace(observed, database=database(Session(9, "b", "app")))


def test_a_scrambled_role_is_remembered_once_it_was_done_and_the_rotation_is_confirmed() -> None:
    observed = replace(idle(ROTATING), scrambled=frozenset({"a"}))
    decision = decide(observed, NOW)
    assert decision.effect is None
    assert decision.memory.scrambled == {"a"}
    assert decision.memory.history[0] == Rotation("b", NOW - 10, "Nonce", "a", 10.0, "Confirmed")
    assert told(observed) == ("Ready", "Stable")


@pytest.mark.parametrize(
    "observed",
    [
        replace(REST, spec=replace(SPEC, nonce="1")),
        replace(REST, secret=None),
        FIRST,
        replace(FIRST, database=database(roles=(RoleSeen("a", exists=False), BOTH[1]), logs_in=None)),
        replace(ROTATING, database=database()),
    ],
    ids=["hand-over", "healing", "creation", "roles", "scrambling"],
)
def test_while_a_migration_runs_no_change_of_the_database_begins(observed: Observed) -> None:
    assert decide(observed, NOW).effect is not None
    decision: Decision = decide(replace(observed, migrating="shop-expand-1"), NOW)
    assert (decision.verdict.state, decision.verdict.reason) == ("Reconciling", "MigrationRuns")
    assert (decision.effect, decision.look_again) == (None, 2.0)
    assert "shop-expand-1" in decision.verdict.message


def test_a_migration_is_in_nobodys_way_where_nothing_is_to_be_done() -> None:
    assert told(replace(REST, migrating="shop-expand-1")) == ("Ready", "Stable")


def test_with_the_status_lost_the_secret_says_which_role_is_in_use() -> None:
    decision = decide(replace(REST, memory=Memory()), NOW)
    assert (decision.memory.role, decision.memory.role_since) == ("a", NOW)
    assert decision.effect == Scramble("b")


def test_the_history_is_no_longer_than_wished_for_but_holds_what_is_under_way() -> None:
    limited = replace(SPEC, nonce="1", history_limit=0)
    assert len(decide(replace(REST, spec=limited, secret=HANDED), NOW).memory.history) == 1


def test_a_spec_that_cant_be_read_leaves_what_is_remembered_as_it_is() -> None:
    found = decide(replace(REST, spec=replace(SPEC, roles=("", "")), spec_fault="no such thing"), NOW)
    assert found.verdict.reason == "InvalidSpec"
    assert found.memory == MEMORY


def test_a_nonce_that_is_taken_away_asks_for_nothing_nor_when_it_is_back_after_a_rotation_by_schedule() -> None:
    secret, memory = replace(SECRET, nonce="1"), replace(MEMORY, handled_nonce="1")
    remembered = replace(REST, secret=secret, memory=memory)
    assert decide(remembered, NOW).effect is None
    due = decide(replace(remembered, spec=replace(SPEC, rotate_every=0.0)), NOW)
    assert due.effect == HandOver("b", "Schedule", "1")
    assert decide(replace(remembered, spec=replace(SPEC, nonce="2")), NOW).effect == HandOver("b", "Nonce", "2")
