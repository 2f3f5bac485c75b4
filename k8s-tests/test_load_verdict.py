from __future__ import annotations

from typing import Any

import pytest

from load.harness import Outcome
from load.verdict import nothing_failed

FINE: dict[str, Any] = {
    "requests": 310,
    "sent": 300,
    "failed": 0,
    "retried": 0,
    "rate": 30.0,
    "seconds": 10.0,
    "failures": [],
    "latency_ms": {"p50": 5.0, "p99": 20.0, "max": 30.0},
}


def test_a_load_without_failures_and_repeats_shows_that_nothing_fails() -> None:
    nothing_failed(Outcome(FINE))


def test_a_failure_is_shown() -> None:
    with pytest.raises(AssertionError, match="1 failed"):
        nothing_failed(Outcome({**FINE, "failed": 1, "failures": [{"error": "status 500"}]}))


def test_repeats_count_as_failures_unless_they_are_allowed() -> None:
    repeated = Outcome({**FINE, "retried": 2})
    with pytest.raises(AssertionError, match="2 were repeated"):
        nothing_failed(repeated)
    nothing_failed(repeated, repeats=True)
