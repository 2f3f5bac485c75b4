"""The scenarios: each a real fault, what it must fire and may fire, and the runbook that ends it."""

from __future__ import annotations

from firing.table import Scenario

_NO_TAKER = "nobody is there to take what is due"

SCENARIOS = (
    Scenario(
        name="redis",
        fault="Redis scaled to 0",
        must=frozenset({"SlipwayDegraded"}),
        page="SlipwayDegraded",
    ),
    Scenario(
        name="worker",
        fault="the worker scaled to 0",
        must=frozenset({"SlipwayWorkerDown"}),
        page="SlipwayWorkerDown",
        may={"SlipwayJobsLate": _NO_TAKER},
    ),
)
