"""Bounds are what the page for people says, number by number: a bound that slips is told by its name."""

from __future__ import annotations

import api_page
import limits


def test_every_operation_and_bound_of_the_api_is_the_one_that_its_page_tells() -> None:
    written = (limits.ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines()
    assert api_page.page().splitlines() == written, "run `make limits`, and look at what it changes"


def test_every_limit_is_the_one_that_the_page_tells() -> None:
    written = (limits.ROOT / "docs" / "limits.md").read_text(encoding="utf-8").splitlines()
    assert limits.page().splitlines() == written, "run `make limits`, and look at what it changes"


def test_the_page_has_limits_of_both_halves() -> None:
    found = {name: value for half in limits.HALVES for name, value, _ in limits.limits(half)}
    assert found["edge.load.BODY_TIMEOUT"] == "5.0"
    assert found["jobs.outcomes.LONGEST_BACKOFF"] == "3600.0"
    assert found["worklist.LIMIT"] == "10000"
    assert found["edge.limiter.MAX_KEYS"] == "20000", "also where its type is written"
    assert found["jobs.worker.Pace.lease"] == "30.0", "also in a class"
    assert not any(name.rpartition(".")[2].startswith("_") for name in found)
