"""The scenarios: each a real fault, what it must fire and may fire, and the runbook that ends it."""

from __future__ import annotations

from firing.table import Scenario

_NO_TAKER = "nobody is there to take what is due"
_SLOW_TOO = "what is answered in the end took too long"
_SLOW_BURN = "the windows of the slow burn hold the fast one's failures too"
_UNANSWERED = "what needs the database ends with 503"
_JOBS_READ = "jobs need the database as well"

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
    Scenario(
        name="api",
        fault="the API scaled to 0",
        must=frozenset({"SlipwayDown"}),
        page="SlipwayDown",
    ),
    Scenario(
        name="lease",
        fault="the Lease held by nobody who lives",
        must=frozenset({"SlipwayOperatorNotLeading"}),
        page="SlipwayOperatorNotLeading",
        may={"SlipwayOperatorDown": "the runbook ends the operator before it starts it anew"},
    ),
    Scenario(
        name="pool",
        fault="a session that locks a table and goes on",
        must=frozenset({"SlipwayPoolExhausted"}),
        page="SlipwayPoolExhausted",
        may={
            "SlipwayErrorBudgetBurn": _UNANSWERED,
            "SlipwayErrorBudgetBurnSlow": _SLOW_BURN,
            "SlipwayLatencyBudgetBurn": _SLOW_TOO,
            "SlipwayLatencyBudgetBurnSlow": _SLOW_BURN,
            "SlipwayJobsLate": _JOBS_READ,
        },
    ),
)
