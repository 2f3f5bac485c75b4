from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.jobs.kinds import JobError
from slipway.jobs.outcomes import Retries, describe, outcome

RETRIES = Retries(attempts=3, backoff=2.0)


def test_a_job_that_succeeds_never_comes_due_again() -> None:
    end = outcome(None, 1, None, RETRIES, 0.5)
    assert (end.result, end.delay, end.error) == ("done", None, None)


def test_a_periodic_job_that_succeeds_comes_due_after_its_interval_give_or_take_a_tenth() -> None:
    assert outcome(None, 1, 100, RETRIES, 0.0).delay == timedelta(seconds=90)
    assert outcome(None, 1, 100, RETRIES, 0.5).delay == timedelta(seconds=100)


def test_delays_between_tries_double() -> None:
    delays = [outcome(ValueError(), attempt, None, Retries(9, 2.0), 1.0).delay for attempt in (1, 2, 3, 4)]
    assert delays == [timedelta(seconds=seconds) for seconds in (2, 4, 8, 16)]


def test_the_last_allowed_try_that_fails_makes_a_dead_letter() -> None:
    assert outcome(ValueError(), 2, None, RETRIES, 0.5).result == "retried"
    assert outcome(ValueError(), 3, None, RETRIES, 0.5).result == "dead"


def test_an_error_that_says_it_is_final_makes_a_dead_letter_at_once() -> None:
    assert outcome(JobError("No such mailbox.", final=True), 1, None, RETRIES, 0.5).result == "dead"


def test_a_periodic_job_is_never_given_up_and_waits_no_longer_than_its_interval() -> None:
    end = outcome(JobError("Not now.", final=True), 1000, 60, RETRIES, 1.0)
    assert end.result == "retried"
    assert end.delay == timedelta(seconds=60)


@given(st.integers(1, 10_000), st.floats(0.01, 600), st.floats(0, 1, exclude_max=True))
def test_every_delay_is_positive_and_bounded(attempt: int, backoff: float, chance: float) -> None:
    delay = outcome(ValueError(), attempt, None, Retries(20_000, backoff), chance).delay
    assert delay is not None
    assert 0 < delay.total_seconds() <= 3600


@pytest.mark.parametrize(("attempt", "longest"), [(1, 2), (2, 4), (5, 32), (11, 2048), (12, 3600), (5000, 3600)])
def test_a_delay_doubles_up_to_an_hour_and_chance_takes_up_to_half_of_it(attempt: int, longest: float) -> None:
    delays = [outcome(ValueError(), attempt, None, Retries(9999, 2.0), chance).delay for chance in (0.0, 1.0)]
    assert delays == [timedelta(seconds=longest / 2), timedelta(seconds=longest)]


def test_jobs_that_failed_together_come_back_apart() -> None:
    delays = {outcome(ValueError(), 1, None, RETRIES, chance).delay for chance in (0.0, 0.3, 0.6, 0.9)}
    assert len(delays) == 4


def test_the_message_of_a_foreign_error_is_not_repeated() -> None:
    with pytest.raises(ConnectionError) as failure:
        raise ConnectionError("550 mailbox of ada@example.com, password hunter2")
    shown = describe(failure.value)
    assert shown.startswith("ConnectionError in test_the_message_of_a_foreign_error_is_not_repeated, line ")
    assert "hunter2" not in shown
    assert "ada" not in shown


def test_the_sentence_of_an_own_error_is_shown() -> None:
    assert describe(JobError("The mail server can't be used.")) == "JobError: The mail server can't be used."
