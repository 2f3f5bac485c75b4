"""Schema migrations through faults, and with many rows: what requests see of it.

Each scenario is a release of its own that goes from one schema to the next. Writes the table in docs/schema-changes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.harness import Outcome
from load.looking import seen
from load.reporting import line_writer
from load.table import Row, write
from load.verdict import nothing_failed
from migrating import backups
from migrating.database import sql, table_held
from migrating.life import Life, life_opened
from migrating.outages import api_server_restarted, database_restarted

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(900)

TABLE = Path(__file__).parents[2] / "docs" / "schema-changes.md"
IDLE, BACKFILL = "Idle, 300,000 items", "Expand and rollout, 300,000 items filled"
LOCK, KILLS = "A lock held for 10 s", "Operator killed in each phase"
API_SERVER, POSTGRESQL = "API server restarted", "PostgreSQL restarted while pods are counted"
SCENARIOS = {IDLE, BACKFILL, LOCK, KILLS, API_SERVER, POSTGRESQL}
ROWS = 300_000
MANY_ITEMS = f"""
    WITH owner AS (
        INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'many@example.com', '-') RETURNING id
    )
    INSERT INTO items (id, owner_id, title, body)
    SELECT gen_random_uuid(), owner.id, 'item ' || number, repeat('words of it ', 20)
    FROM owner, generate_series(1, {ROWS}) AS number
"""  # noqa: S608 - a number of ours
"""Somebody else's: the load reads its own to the last one."""
HELD = 10.0
PHASES = ["Planning", "Expanding", "RollingOut", "AwaitingApproval", "BackingUp", "Announcing", "Contracting"]
LOADED = {"seconds": 800.0}


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Only all scenarios together make the document's table."""
    measured: list[Row] = []
    yield measured
    if {row.scenario for row in measured} == SCENARIOS:
        write(TABLE, measured)


@pytest.fixture
def life(
    cluster: Cluster, service_image: str, release: Callable[[Release], str], pytestconfig: pytest.Config
) -> Iterator[Life]:
    for name in ("expanded", "contracted"):
        release(name)
    with life_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        yield opened


def measured(rows: list[Row], life: Life, scenario: str, outcome: Outcome) -> Outcome:
    rows.append(Row(scenario, outcome.report["rate"], outcome))
    return life.told(scenario, outcome)


def each_ran_once(life: Life, *purposes: str) -> None:
    """However often the operator was away: a Job that ran was never made again."""
    for purpose in purposes:
        newest = max(life.migration.jobs(purpose), key=lambda job: job["metadata"]["creationTimestamp"])
        plan_key = newest["metadata"]["annotations"]["slipway.dev/plan-key"]
        same = [
            job
            for job in life.migration.jobs(purpose)
            if job["metadata"]["annotations"]["slipway.dev/plan-key"] == plan_key
        ]
        assert [job["status"].get("succeeded") for job in same] == [1], purpose


def test_a_lock_that_is_held_for_ten_seconds_stops_nobody_else(
    life: Life, rows: list[Row], release: Callable[[Release], str]
) -> None:
    with life.load(**LOADED) as running:
        with table_held(life.cluster, life.namespace):
            life.upgrade(release("expanded"), wait=False)
            life.migration.shows("WaitingForLock", "Reconciling")
            running.carry_on(HELD)
        life.migration.become_ready(120)
        life.rollout_done()
        outcome = measured(rows, life, LOCK, running.finish(after=5))
    nothing_failed(outcome)


def test_an_operator_killed_in_each_phase_goes_on_where_it_was(
    life: Life, rows: list[Row], service_image: str, release: Callable[[Release], str]
) -> None:
    backups.make_backups(life, service_image)
    with life.load(**LOADED) as running:
        life.upgrade(release("contracted"), wait=False, migrations={**backups.VALUES, "approval": "Destructive"})
        for phase in PHASES:
            seen(lambda phase=phase: reached(life, phase), 120, f"phase {phase}")  # type: ignore[misc]
            life.operator_killed()
            if phase == "AwaitingApproval":
                life.migration.patch({"approve": life.migration.read()["status"]["plan"]["digest"]})
        life.migration.become_ready(180)
        outcome = measured(rows, life, KILLS, running.finish(after=5))
    nothing_failed(outcome)
    assert life.ledger()["drop_body"] == "applied"
    each_ran_once(life, "plan", "expand", "backup", "announce", "contract")


def reached(life: Life, phase: str) -> bool:
    """At this phase, or past it already: some last no longer than a look."""
    shown = life.migration.read()
    if shown["status"].get("observedGeneration") != shown["metadata"]["generation"]:
        return False
    order = [*PHASES, "Complete"]
    at = shown["status"]["phase"]
    return at in order and order.index(at) >= order.index(phase)


def test_an_api_server_that_restarts_in_the_middle_delays_and_breaks_nothing(
    own_api_server: None,  # noqa: ARG001 - nobody else's API server is ours to restart
    life: Life,
    rows: list[Row],
    release: Callable[[Release], str],
) -> None:
    with life.load(**LOADED) as running:
        life.upgrade(release("contracted"), wait=False)
        seen(lambda: reached(life, "Expanding"), 60, "the expand")
        api_server_restarted()
        life.migration.become_ready(180)
        life.rollout_done()
        outcome = measured(rows, life, API_SERVER, running.finish(after=5))
    nothing_failed(outcome)
    each_ran_once(life, "plan", "expand", "announce", "contract")


def test_a_database_that_restarts_while_pods_are_counted_lets_no_contract_through(
    life: Life, rows: list[Row], service_image: str, release: Callable[[Release], str]
) -> None:
    """Requests fail while there is no database, each with an honest status."""
    with life.load(**LOADED) as running:
        life.upgrade(release("contracted"), wait=False)
        seen(lambda: reached(life, "RollingOut"), 60, "the rollout")
        assert life.serving(service_image)
        database_restarted(life.cluster, life.namespace)
        assert life.ledger().get("drop_body") is None or not life.serving(service_image)
        life.migration.become_ready(180)
        life.rollout_done()
        outcome = measured(rows, life, POSTGRESQL, running.finish(after=5))
    assert outcome.sent
    assert {failure["error"][:10] for failure in outcome.report["failures"]} <= {"status 503"}, outcome.failures
    assert life.ledger()["drop_body"] == "applied"


def test_three_hundred_thousand_rows_are_filled_beside_the_requests(
    life: Life, rows: list[Row], release: Callable[[Release], str]
) -> None:
    sql(life.cluster, life.namespace, MANY_ITEMS)
    sql(life.cluster, life.namespace, "VACUUM ANALYZE items")
    with life.load(**LOADED) as running:
        idle = measured(rows, life, IDLE, running.finish(after=30))
    started = monotonic()
    with life.load(**LOADED) as running:
        life.upgrade(release("expanded"), timeout=600)
        took = monotonic() - started
        busy = measured(rows, life, f"{BACKFILL}", running.finish(after=5))
    life.say(f"{ROWS:,} rows filled in {took:.0f} s; p99 {idle.latency['p99']:g} → {busy.latency['p99']:g} ms")
    nothing_failed(idle)
    nothing_failed(busy)
    assert sql(life.cluster, life.namespace, "SELECT count(*) FROM items WHERE content IS DISTINCT FROM body") == [
        ["0"]
    ]
