"""A column is renamed over releases while requests are served; the operator alone brings the schema up.

One release goes through its life, test by test: each begins where the one before it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from cluster.images.releases import Release
from cluster.model import Cluster
from load.disturbances import evict
from load.looking import seen
from load.reporting import line_writer
from load.verdict import nothing_failed
from migrating import backups
from migrating.life import OURS, Life, life_opened
from operated.resource import of_kind

pytest_plugins = ["migrating.fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

INSTALLED = dict.fromkeys(OURS, "applied")
EXPANDED = {**INSTALLED, "add_content": "applied", "fill_content": "applied"}
CONTRACTED = {**EXPANDED, "drop_body": "applied"}
STORY = ["Planning", "RollingOut", "Announcing", "Contracting", "UpToDate"]
"""Of a release that brings a contract and nothing else."""
STALLED = "slipway_operator_resource_stalled"


@pytest.fixture(scope="module")
def life(
    cluster: Cluster, service_image: str, release: Callable[[Release], str], pytestconfig: pytest.Config
) -> Iterator[Life]:
    for name in ("expanded", "contracted", "skipping"):
        release(name)
    with life_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        yield opened


def is_ready_for(life: Life, image: str) -> dict[str, Any]:
    """Right after `helm --wait` came back: not a moment to lose."""
    shown = life.migration.read()
    assert life.migration.ready(), life.migration.told()
    assert shown["spec"]["image"] == image
    assert shown["status"]["pending"] == 0
    return shown


def test_an_install_comes_back_when_the_schema_is_ready_for_its_image(life: Life, service_image: str) -> None:
    shown = is_ready_for(life, service_image)
    assert shown["status"]["history"][0]["result"] == "Succeeded"
    assert life.ledger() == INSTALLED
    columns = life.migration.columns()
    assert [*columns] == ["NAME", "READY", "REASON", "REVISION", "TARGET", "PENDING", "AGE"]
    assert [columns[name] for name in ("READY", "REASON", "REVISION", "TARGET", "PENDING")] == [
        *("True", "UpToDate"),
        *(OURS[-1], OURS[-1]),
        "0",
    ]


def test_a_release_that_was_skipped_is_named_and_harms_nobody(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    life.upgrade(release("skipping"), wait=False)
    message = life.migration.shows("ReleaseSkipped", "Stalled")
    assert "drop_body" in message
    assert life.metric(STALLED, kind="SchemaMigration") == 1
    assert life.ledger() == INSTALLED
    assert len(life.serving(service_image)) == 2


def test_a_column_is_renamed_over_three_releases_and_nothing_fails(
    life: Life, release: Callable[[Release], str]
) -> None:
    with life.load(export_every=5) as running:
        life.upgrade(release("expanded"))
        is_ready_for(life, release("expanded"))
        assert life.ledger() == EXPANDED
        assert {"body", "content"} <= life.columns_of_items()
        life.upgrade(release("contracted"))
        is_ready_for(life, release("contracted"))
        outcome = life.told("a column renamed over three releases", running.finish())
    nothing_failed(outcome)
    assert outcome.report["exports_acknowledged"] >= 2
    assert life.ledger() == CONTRACTED
    assert "body" not in life.columns_of_items()


def test_the_events_tell_each_transition_once(life: Life) -> None:
    told = life.migration.events()
    reasons = [reason for _, reason, _ in told]
    last = reasons[len(reasons) - 1 - reasons[::-1].index("Planning") :]
    assert all(one != another for one, another in pairwise(last)), last
    # A Job that is slow to start may say so in between, after which its step is told again.
    assert [reason for reason in dict.fromkeys(last) if reason in STORY] == STORY
    assert {reason for kind, reason, _ in told if kind == "Warning"} == {"ReleaseSkipped"}


def test_evicted_old_pods_come_back_and_a_rollout_that_is_undone_breaks_nobody(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    before, after = release("contracted"), release("skipping")
    backups.make_backups(life, service_image)
    with life.load() as running:
        life.upgrade(after, wait=False, migrations=backups.VALUES)
        life.rollout("pause")
        life.migration.shows("RollingOut", "Reconciling", within=60)
        victim = min(life.serving(before))
        seen(lambda: evict(life.cluster, life.namespace, victim), 30, f"leave to evict {victim}")
        seen(lambda: len(life.serving(before) - {victim}) == 2, 60, "another old pod, Ready")
        life.rollout("resume")
        seen(lambda: life.serving(after), 60, "a new pod, Ready")
        life.rollout("undo")
        life.migration.shows("RollingOut", "Reconciling")
        seen(lambda: len(life.serving(before)) == 2 and not life.serving(after), 90, "the old release, whole")
        outcome = life.told("an eviction, and a rollout undone", running.finish())
    nothing_failed(outcome)
    assert life.ledger() == {**CONTRACTED, "add_note": "applied"}
    assert "drop_note" in life.migration.condition("ContractPending")["message"]
    assert life.migration.condition("RollbackSafe")["status"] == "True"


def test_a_release_that_is_rolled_out_after_all_is_ready_while_its_contract_waits_for_approval(
    life: Life, release: Callable[[Release], str]
) -> None:
    life.upgrade(release("skipping"), migrations={**backups.VALUES, "approval": "Destructive"})
    assert life.migration.ready(), life.migration.told()
    shown = life.migration.read()
    assert (of_kind(shown, "Ready")["reason"], shown["status"]["pending"]) == ("AwaitingApproval", 1)
    assert of_kind(shown, "ContractPending")["status"] == "True"
    assert shown["status"]["plan"]["digest"] in of_kind(shown, "ContractPending")["message"]
    assert "drop_note" not in life.ledger()
    assert life.migration.jobs("backup") == []


def test_an_approved_contract_follows_the_backup(life: Life, release: Callable[[Release], str]) -> None:
    life.migration.patch({"approve": life.migration.read()["status"]["plan"]["digest"]})
    seen(lambda: life.migration.condition("ContractPending")["status"] == "False", 60, "the end of the contract")
    is_ready_for(life, release("skipping"))
    assert life.ledger() == {**CONTRACTED, "add_note": "applied", "drop_note": "applied"}
    (backup,), (contract,) = life.migration.jobs("backup"), newest(life.migration.jobs("contract"))
    assert backup["status"]["completionTime"] <= contract["metadata"]["creationTimestamp"]
    assert life.migration.condition("RollbackSafe")["status"] == "False"


def test_the_operator_counts_its_looks_and_its_jobs(life: Life) -> None:
    def jobs(purpose: str, result: str) -> float:
        return life.metric("slipway_operator_jobs_total", purpose=purpose, result=result)

    assert jobs("plan", "created") == jobs("plan", "succeeded") >= 4  # each release has had its plan
    assert jobs("contract", "created") == jobs("contract", "succeeded") == 2
    assert jobs("backup", "created") == jobs("backup", "succeeded") == 1
    assert jobs("contract", "failed") == 0
    looks = life.metric("slipway_operator_reconciles_total", kind="SchemaMigration", result="succeeded")
    assert looks > 20
    assert life.metric("slipway_operator_reconcile_duration_seconds_count", kind="SchemaMigration") >= looks
    assert life.metric(STALLED, kind="SchemaMigration") == 0


def newest(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(jobs, key=lambda job: job["metadata"]["creationTimestamp"])[-1:]
