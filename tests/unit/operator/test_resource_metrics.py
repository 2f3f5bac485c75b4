"""Prometheus is told why each resource is as it is, when it rotates next, and how long its migration takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.migrations.apply import running_since
from slipway_operator.migrations.model import Decision, JobSeen, Memory, Phase, Verdict
from slipway_operator.resource_metrics import ResourceMetrics

RING = ("KeyRing", "shop", "keys")
MIGRATION = ("SchemaMigration", "shop", "schema")
STATUS = {"signingSince": "2026-11-01T00:00:00Z", "nextRotation": "2026-12-01T00:00:00Z"}
BEGAN = 1000.0


def told(metrics: ResourceMetrics) -> dict[tuple[str, ...], float]:
    return {
        (family.name.removeprefix("slipway_operator_"), *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def test_a_resource_has_the_reason_of_now_and_no_other() -> None:
    metrics = ResourceMetrics()
    metrics.saw(RING, "Published", {})
    metrics.saw(RING, "Confirmed", {})
    assert told(metrics) == {("resource_info", *RING, "Confirmed"): 1}


def test_a_ring_tells_since_when_its_key_signs_and_when_the_next_is_due() -> None:
    metrics = ResourceMetrics()
    metrics.saw(RING, "Confirmed", STATUS)
    assert told(metrics)[("rotation_last_timestamp_seconds", *RING)] == 1793491200
    assert told(metrics)[("rotation_due_timestamp_seconds", *RING)] == 1796083200
    metrics.saw(RING, "Suspended", {})
    assert ("rotation_due_timestamp_seconds", *RING) not in told(metrics)


def test_a_login_tells_since_when_its_role_is_in_use() -> None:
    metrics = ResourceMetrics()
    metrics.saw(RING, "Confirmed", {"roleSince": STATUS["signingSince"]})
    assert told(metrics)[("rotation_last_timestamp_seconds", *RING)] == 1793491200


def test_a_migrations_time_goes_on_between_two_looks_and_ends_with_it() -> None:
    now = BEGAN + 10
    metrics = ResourceMetrics(lambda: now)
    metrics.saw_migration(MIGRATION, BEGAN, 3600.0)
    assert told(metrics)[("migration_running_seconds", "shop", "schema")] == 10
    now += 5
    assert told(metrics)[("migration_running_seconds", "shop", "schema")] == 15
    assert told(metrics)[("migration_budget_seconds", "shop", "schema")] == 3600
    metrics.saw_migration(MIGRATION, None, 3600.0)
    assert told(metrics)[("migration_running_seconds", "shop", "schema")] == 0


def test_what_is_gone_is_told_of_no_more() -> None:
    metrics = ResourceMetrics()
    metrics.saw(RING, "Confirmed", STATUS)
    metrics.forget(RING)
    metrics.forget(MIGRATION)
    assert told(metrics) == {}


def job(name: str, created: float, **fields: str) -> JobSeen:
    made = JobSeen(name, "expand", "wish", 1, "running", created)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phase", "state", "since"),
    [
        ("Expanding", "Reconciling", BEGAN),
        ("Contracting", "Reconciling", BEGAN + 7),
        ("Expanding", "Stalled", None),
        ("RollingOut", "Reconciling", None),
        ("Complete", "Ready", None),
    ],
)
def test_a_step_runs_from_its_first_try_on_until_it_is_done_or_a_person_must_act(
    phase: Phase, state: str, since: float | None
) -> None:
    jobs = (
        job("second", BEGAN + 5),
        job("first", BEGAN, state="failed"),
        job("of-another-wish", BEGAN - 500, plan_key="other"),
        job("plan", BEGAN - 5, purpose="plan"),
        job("contract", BEGAN + 7, purpose="contract"),
    )
    decision = Decision(Memory(plan_key="wish"), Verdict(state, "Migrating", "", phase))  # type: ignore[arg-type]
    assert running_since(jobs, decision) == since
