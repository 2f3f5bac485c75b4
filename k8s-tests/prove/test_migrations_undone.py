"""`kubectl rollout undo` in every phase of a schema change, while requests are served.

One release goes through its life, test by test: each begins where the one before it ended. What holds a phase open is
a lock in the database, an approval that isn't given, or a backup that lasts. Writes a table in docs/schema-changes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.disturbances import pods
from load.harness import Outcome
from load.looking import seen
from load.reporting import line_writer
from load.table import Row, write
from load.verdict import nothing_failed
from migrating import backups
from migrating.database import runner_held, table_held, waiting_for
from migrating.life import Life, life_opened

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(400)

TABLE = Path(__file__).parents[2] / "docs" / "schema-changes.md"
PHASES = [
    "AwaitingApproval", "Expanding", "Planning", "RollingOut", "BackingUp", "Announcing", "Contracting", "Complete",
]  # fmt: skip
"""In the order of the tests."""
LOADED = {"seconds": 390.0}
PLANNING = "slipway db plan"
"""Name of the plan's sessions in PostgreSQL."""
BOTH = 2
"""Replicas."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Only all phases together make the document's table."""
    measured: list[Row] = []
    yield measured
    if [row.scenario for row in measured] == PHASES:
        write(TABLE, measured, "undone")


@pytest.fixture(scope="module")
def life(
    cluster: Cluster, service_image: str, release: Callable[[Release], str], pytestconfig: pytest.Config
) -> Iterator[Life]:
    release("contracted")
    with life_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        yield opened


@pytest.fixture
def before(service_image: str) -> str:
    """The image that the contract breaks."""
    return service_image


@pytest.fixture
def after(release: Callable[[Release], str]) -> str:
    return release("contracted")


def undone(life: Life, before: str) -> None:
    life.rollout("undo")
    deployment = life.cluster.kubectl.json("get", "deployment", "slipway", life.scope)
    assert [one["image"] for one in deployment["spec"]["template"]["spec"]["containers"]] == [before]


def whole_again(life: Life, before: str, after: str) -> None:
    seen(lambda: len(life.serving(before)) == BOTH and not life.serving(after), 90, "the old release, whole")


def contract_waits(life: Life, before: str) -> None:
    """It ended by itself where nobody is broken, and says what it waits for."""
    life.migration.shows("RollingOut", "Reconciling", within=90, saying=before)
    assert life.ledger().get("drop_body") != "applied"
    assert life.migration.jobs("contract") == []
    assert "drop_body" in life.migration.condition("ContractPending")["message"]


def at(life: Life, phase: str) -> bool:
    return bool(life.migration.read()["status"]["phase"] == phase)


def refused(life: Life, image: str) -> bool:
    """Whether the gate of a pod of this image has refused it."""
    gates = [
        status
        for pod in pods(life.cluster, life.namespace)
        for status in pod["status"].get("initContainerStatuses", [])
        if status["image"].endswith(image)
    ]
    ends = [state.get("terminated", {}) for gate in gates for state in (gate["state"], gate["lastState"])]
    return any(end.get("exitCode", 0) != 0 for end in ends)


def measured(rows: list[Row], life: Life, phase: str, outcome: Outcome) -> None:
    rows.append(Row(phase, outcome.report["rate"], outcome))
    nothing_failed(life.told(f"rollout undone, {phase}", outcome))


def test_while_approval_is_waited_for_nothing_was_begun(life: Life, rows: list[Row], before: str, after: str) -> None:
    expands = life.migration.jobs("expand")
    with life.load(**LOADED) as running:
        life.upgrade(after, wait=False, migrations={"approval": "Always"})
        life.migration.shows("AwaitingApproval", "Reconciling", within=60)
        assert at(life, "AwaitingApproval")
        undone(life, before)
        whole_again(life, before, after)
        assert life.migration.jobs("expand") == expands
        assert "add_content" not in life.ledger()
        measured(rows, life, "AwaitingApproval", running.finish(after=3))
    life.upgrade(before)


def test_while_expanding_it_expands_and_the_contract_waits(
    life: Life, rows: list[Row], before: str, after: str
) -> None:
    with life.load(**LOADED) as running:
        with table_held(life.cluster, life.namespace):
            life.upgrade(after, wait=False)
            life.migration.shows("WaitingForLock", "Reconciling", within=60)
            assert at(life, "Expanding")
            undone(life, before)
        contract_waits(life, before)
        whole_again(life, before, after)
        measured(rows, life, "Expanding", running.finish(after=3))
    assert life.ledger()["fill_content"] == "applied"


def test_while_planning_nothing_but_the_plan_was_begun(life: Life, rows: list[Row], before: str, after: str) -> None:
    life.upgrade(before)
    with life.load(**LOADED) as running:
        with table_held(life.cluster, life.namespace, "alembic_version", "ACCESS EXCLUSIVE") as pid:
            life.upgrade(after, wait=False)
            seen(lambda: PLANNING in waiting_for(life.cluster, life.namespace, pid), 60, "a plan that waits")
            assert at(life, "Planning")
            undone(life, before)
        contract_waits(life, before)
        whole_again(life, before, after)
        measured(rows, life, "Planning", running.finish(after=3))


def test_while_rolling_out_old_pods_come_back(life: Life, rows: list[Row], before: str, after: str) -> None:
    with life.load(**LOADED) as running:
        life.upgrade(after, wait=False)
        seen(lambda: life.serving(after), 90, "a new pod, Ready")
        assert at(life, "RollingOut")
        undone(life, before)
        whole_again(life, before, after)
        contract_waits(life, before)
        measured(rows, life, "RollingOut", running.finish(after=3))


def test_while_a_backup_is_made_old_pods_come_back_and_the_contract_waits(
    life: Life, rows: list[Row], before: str, after: str
) -> None:
    backups.make_backups(life, before, held=True)
    with life.load(**LOADED) as running:
        life.upgrade(after, wait=False, migrations=backups.VALUES)
        life.migration.shows("BackingUp", "Reconciling", within=120)
        assert at(life, "BackingUp")
        undone(life, before)
        whole_again(life, before, after)
        backups.let_go(life)
        contract_waits(life, before)
        measured(rows, life, "BackingUp", running.finish(after=3))


def test_while_announcing_old_pods_that_came_first_are_waited_for_and_a_rollback_takes_it_back(
    life: Life, rows: list[Row], before: str, after: str
) -> None:
    with life.load(**LOADED) as running:
        with runner_held(life.cluster, life.namespace):
            life.upgrade(after, wait=False)
            life.migration.shows("WaitingForRunner", "Reconciling", within=120)
            assert at(life, "Announcing")
            undone(life, before)
            whole_again(life, before, after)
        seen(lambda: life.ledger().get("drop_body") == "announced", 60, "the announcement")
        contract_waits(life, before)
        life.upgrade(before)
        assert "drop_body" not in life.ledger()
        measured(rows, life, "Announcing", running.finish(after=3))


def test_while_contracting_old_pods_do_not_start_and_it_ends(
    life: Life, rows: list[Row], before: str, after: str
) -> None:
    with life.load(**LOADED) as running:
        with table_held(life.cluster, life.namespace):
            life.upgrade(after, wait=False)
            life.migration.shows("WaitingForLock", "Reconciling", within=120)
            assert at(life, "Contracting")
            undone(life, before)
            seen(lambda: refused(life, before), 60, "a gate that refuses the old image")
            assert len(life.serving(after)) == BOTH
        life.migration.become_ready()
        assert life.ledger()["drop_body"] == "applied"
        assert not life.serving(before)
        life.rollout("undo")
        life.rollout_done()
        measured(rows, life, "Contracting", running.finish(after=3))


def test_when_it_is_complete_old_pods_do_not_start(life: Life, rows: list[Row], before: str, after: str) -> None:
    life.settled(BOTH)
    with life.load(**LOADED) as running:
        assert at(life, "Complete")
        undone(life, before)
        seen(lambda: refused(life, before), 60, "a gate that refuses the old image")
        assert len(life.serving(after)) == BOTH
        assert life.migration.ready()
        life.rollout("undo")
        life.rollout_done()
        measured(rows, life, "Complete", running.finish(after=3))
