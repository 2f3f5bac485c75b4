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
        name="operator",
        fault="the operator scaled to 0",
        must=frozenset({"SlipwayOperatorDown"}),
        page="SlipwayOperatorDown",
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
        name="overdue",
        fault="a KeyRing suspended past its date",
        must=frozenset({"SlipwayKeyOverdue"}),
        page="SlipwayKeyOverdue",
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
    Scenario(
        name="release",
        fault="a release whose request deadline is too short",
        must=frozenset({"SlipwayErrorBudgetBurn", "SlipwayErrorBudgetBurnSlow"}),
        page="SlipwayErrorBudgetBurn",
        may={"SlipwayJobsLate": "the worker's writes have the same deadline"},
    ),
    Scenario(
        name="postgresql",
        fault="PostgreSQL scaled to 0",
        must=frozenset({"SlipwayDatabaseAway"}),
        page="SlipwayDatabaseAway",
        may={
            "SlipwayErrorBudgetBurn": _UNANSWERED,
            "SlipwayErrorBudgetBurnSlow": _SLOW_BURN,
            "SlipwayLatencyBudgetBurn": _SLOW_TOO,
            "SlipwayLatencyBudgetBurnSlow": _SLOW_BURN,
            "SlipwayPoolExhausted": "connections that are being made are the pool's",
            "SlipwayJobsLate": _JOBS_READ,
        },
        inhibited=frozenset({"SlipwayErrorBudgetBurn"}),
    ),
)
"""PostgreSQL is last: the demo's comes back empty."""
