"""One look: which calls it makes, and what it makes of Jobs and their logs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slipway_operator.cluster import ApiError, UnreachableError
from slipway_operator.migrations import observe
from slipway_operator.migrations.jobs import migration_job
from slipway_operator.migrations.model import JobSeen, Memory, Plan, Revision
from slipway_operator.migrations.observe import Look, look
from slipway_operator.migrations.spec import parse, plan_key
from slipway_operator.migrations.status import memory_of
from slipway_operator.times import timestamp
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import (
    IMAGE_ID,
    NOW,
    UID,
    consumer,
    deployment,
    marked,
    plan_log,
    resource,
    revision,
)

KEY = f"{plan_key(resource())}.1"
MANAGED = {"slipway.dev/schemamigration": "shop"}


def job(name: str, purpose: str = "plan", ended: str = "", age: float = 10.0, **status: Any) -> dict[str, Any]:
    conditions = [{"type": ended, "status": "True", "lastTransitionTime": timestamp(NOW - 1)}] if ended else []
    return {
        "metadata": {
            "name": name,
            "namespace": "one",
            "uid": f"uid-{name}",
            "creationTimestamp": timestamp(NOW - age),
            "labels": {**MANAGED, "slipway.dev/purpose": purpose},
            "annotations": {"slipway.dev/plan-key": KEY, "slipway.dev/attempt": "0"},
            "ownerReferences": [{"name": "shop", "uid": UID, "controller": True}],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "api"}]}}},
        "status": {"conditions": conditions, **status},
    }


def pod_of(name: str, phase: str = "Running", **state: Any) -> dict[str, Any]:
    statuses = [{"name": "api", "image": "shop:2", "imageID": IMAGE_ID, "state": state}] if state else []
    return {
        "metadata": {
            "name": f"{name}-pod",
            "namespace": "one",
            "uid": f"uid-{name}-pod",
            "creationTimestamp": timestamp(NOW - 9),
            "labels": {**MANAGED, "app": "shop"},
            "ownerReferences": [{"name": name, "uid": f"uid-{name}", "controller": True}],
        },
        "spec": {"containers": []},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


@pytest.fixture
def cluster() -> MemoryApi:
    api = MemoryApi()
    api.put("schemamigrations", resource({"planKey": KEY}))
    api.put("deployments", deployment())
    return api


async def looked(api: MemoryApi) -> Look:
    found = await look(api, "one", "shop", NOW)
    assert found is not None
    return found


async def only_job(api: MemoryApi) -> JobSeen:
    (found,) = (await looked(api)).observed.jobs
    return found


async def test_a_resource_that_is_gone_or_going_is_not_looked_at(cluster: MemoryApi) -> None:
    assert await look(cluster, "one", "other", NOW) is None
    cluster.objects["schemamigrations", "shop"]["metadata"]["deletionTimestamp"] = timestamp(NOW)
    assert await look(cluster, "one", "shop", NOW) is None


async def test_with_nothing_to_do_one_look_is_three_calls(cluster: MemoryApi) -> None:
    observed = (await looked(cluster)).observed

    assert cluster.calls == ["get schemamigrations", "get deployments", "list jobs"]
    assert observed.created == NOW - 100
    assert observed.workload is not None
    assert observed.workload.rolled_out


async def test_a_spec_that_cannot_be_followed_is_said(cluster: MemoryApi) -> None:
    cluster.put("schemamigrations", resource(consumers={"selector": {}}))

    assert "needs at least one label" in ((await looked(cluster)).observed.spec_fault or "")


async def test_what_cannot_be_reached_is_never_taken_for_absent(cluster: MemoryApi) -> None:
    cluster.faults["list jobs"] = UnreachableError(0, "Unreachable", "x")

    with pytest.raises(UnreachableError):
        await look(cluster, "one", "shop", NOW)


async def test_a_plan_is_read_from_the_log_with_the_id_of_the_image_that_wrote_it(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = plan_log(revision("0002", sql="DROP TABLE a;"))

    found = await looked(cluster)
    (seen,) = found.observed.jobs

    assert (seen.state, seen.image_id, seen.ended) == ("succeeded", IMAGE_ID, NOW - 1)
    assert seen.plan is not None
    assert [finding.rule for finding in seen.plan.findings] == ["ban-drop-table"]
    assert seen.plan.config_map == "shop-plan"
    assert "DROP TABLE a;" in found.sql[seen.plan.digest]


async def test_a_node_that_never_answers_is_given_up_in_time_to_say_so(
    cluster: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))

    async def hangs(*_: Any, **__: Any) -> str:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(cluster, "log", hangs)
    monkeypatch.setattr(observe, "PLAN_SECONDS", 0.01)
    (seen,) = (await looked(cluster)).observed.jobs
    assert (seen.state, seen.trouble.reason if seen.trouble else "") == ("running", "LogUnreachable")


async def test_on_an_empty_database_nothing_is_objected_to(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = plan_log(revision("0001", sql="DROP TABLE a;"), current="")

    plan = (await only_job(cluster)).plan

    assert plan is not None
    assert plan.findings == ()


async def test_a_plan_that_was_taken_account_of_is_not_read_again(cluster: MemoryApi) -> None:
    plan = {"digest": "sha256:" + "0" * 64}
    cluster.put("schemamigrations", resource({"planKey": KEY, "done": ["plan"], "plan": plan}))
    cluster.put("jobs", job("j", ended="Complete"))

    assert (await only_job(cluster)).plan is None
    assert "log" not in cluster.calls
    assert "list pods" not in cluster.calls


@pytest.mark.parametrize("log", ["", "nothing marked", "slipway.dev/v1 {}"])
async def test_a_plan_that_cannot_be_read_is_a_job_that_failed(cluster: MemoryApi, log: str) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = log

    seen = await only_job(cluster)

    assert seen.state == "failed"
    assert seen.trouble is not None
    assert seen.trouble.reason == "PlanUnreadable"


async def test_a_plan_whose_pod_is_gone_is_a_job_that_failed(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))

    assert (await only_job(cluster)).state == "failed"


async def test_a_plan_is_waited_for_while_its_log_cannot_be_reached(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = ApiError(502, "BadGateway", "kubelet")

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble and seen.trouble.reason) == ("running", "LogUnreachable")


async def test_a_plan_whose_log_stays_out_of_reach_is_asked_for_anew(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = ApiError(502, "BadGateway", "kubelet")

    found = await look(cluster, "one", "shop", NOW + 200)

    assert found is not None
    (seen,) = found.observed.jobs
    assert (seen.state, seen.trouble and seen.trouble.reason) == ("failed", "LogUnreachable")


async def test_a_pod_that_a_lost_node_holds_is_told_and_its_log_not_waited_for(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", "expand"))
    pod = pod_of("j", running={})
    pod["metadata"]["deletionTimestamp"] = timestamp(NOW)
    pod["spec"]["nodeName"] = "node-7"
    cluster.put("pods", pod)

    seen = await only_job(cluster)

    assert seen.trouble is not None
    assert (seen.state, seen.trouble.reason, seen.trouble.lasting) == ("running", "PodTerminating", False)
    assert "node-7" in seen.trouble.message
    assert "log" not in cluster.calls


async def test_a_node_that_answers_nothing_holds_no_look_up(
    cluster: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(cluster, "log", never)
    monkeypatch.setattr(observe, "TAIL_SECONDS", 0.01)
    cluster.put("jobs", job("j", "expand"))
    cluster.put("pods", pod_of("j", running={}))

    assert (await only_job(cluster)).trouble is None


async def test_a_job_that_runs_shows_what_it_waits_for(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", "expand"))
    cluster.put("pods", pod_of("j", running={}))
    cluster.logs["j-pod"] = marked({"type": "waiting", "reason": "WaitingForLock", "message": "pid 7"})

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble and seen.trouble.reason) == ("running", "WaitingForLock")


async def test_a_job_whose_log_cannot_be_reached_just_runs(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", "expand"))
    cluster.put("pods", pod_of("j", running={}))
    cluster.logs["j-pod"] = UnreachableError(0, "Unreachable", "x")

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble) == ("running", None)


@pytest.mark.parametrize(
    ("current", "held_back", "state"),
    [("0001", ["0004"], "succeeded"), ("", [], "succeeded"), ("", ["0004"], "failed"), ("0001", [], "failed")],
)
async def test_an_expand_counts_when_it_left_the_contracts_that_were_planned_to_stay(
    cluster: MemoryApi, current: str, held_back: list[str], state: str
) -> None:
    revisions = [{"id": "0003", "kind": "expand"}, {"id": "0004", "kind": "contract"}]
    plan = {"digest": "sha256:0", "current": current, "target": "0004", "revisions": revisions}
    cluster.put("schemamigrations", resource({"planKey": KEY, "done": ["plan"], "plan": plan}))
    cluster.put("jobs", job("j", "expand", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = marked({"type": "done", "current": "x", "applied": [], "held_back": held_back})

    seen = await only_job(cluster)

    assert seen.state == state
    assert (seen.trouble.reason if seen.trouble else "") == ("" if state == "succeeded" else "PlanChanged")


async def test_an_expand_whose_log_is_gone_is_believed(cluster: MemoryApi) -> None:
    plan = {"digest": "sha256:0", "current": "0001", "target": "0003", "revisions": [{"id": "0003", "kind": "expand"}]}
    cluster.put("schemamigrations", resource({"planKey": KEY, "done": ["plan"], "plan": plan}))
    cluster.put("jobs", job("j", "expand", ended="Complete"))

    assert (await only_job(cluster)).state == "succeeded"


async def test_a_job_that_failed_tells_why(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", "expand", ended="Failed"))
    cluster.put("pods", pod_of("j", "Failed", terminated={"exitCode": 1}))
    cluster.logs["j-pod"] = marked({"type": "failed", "reason": "LockNotAvailable", "message": "x", "lasting": False})

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble and seen.trouble.reason) == ("failed", "LockNotAvailable")


@pytest.mark.parametrize(("age", "reason"), [(1.0, None), (10.0, "AdmissionRefused")])
async def test_events_are_asked_once_a_job_is_late(cluster: MemoryApi, age: float, reason: str | None) -> None:
    about = {"involvedObject": {"uid": "uid-j"}, "reason": "FailedCreate", "message": "no", "metadata": {"name": "e"}}
    cluster.put("jobs", job("j", age=age))
    cluster.put("events", about)

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble.reason if seen.trouble else None) == ("starting", reason)
    assert ("list events" in cluster.calls) == bool(reason)


@pytest.mark.parametrize(
    ("pods", "status", "state"),
    [
        ([], {}, "starting"),
        ([pod_of("j", "Pending", waiting={"reason": "ImagePullBackOff"})], {"active": 1}, "starting"),
        ([pod_of("j", "Running", running={})], {"active": 1, "ready": 1}, "running"),
        ([pod_of("j", "Failed", terminated={"exitCode": 1})], {}, "running"),
        ([], {"failed": 1}, "running"),
        ([], {"uncountedTerminatedPods": {"failed": ["x"]}}, "running"),
        ([], {"conditions": [{"type": "FailureTarget", "status": "True"}], "terminating": 1}, "running"),
    ],
)
async def test_a_job_is_starting_only_while_nothing_of_it_has_run(
    cluster: MemoryApi, pods: list[dict[str, Any]], status: dict[str, Any], state: str
) -> None:
    cluster.put("jobs", job("j", "expand", **status))
    cluster.put("pods", *pods)
    cluster.logs["j-pod"] = ""

    assert (await only_job(cluster)).state == state


async def test_jobs_of_others_are_not_ours(cluster: MemoryApi) -> None:
    foreign, unmarked = job("f"), job("m")
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"
    del unmarked["metadata"]["annotations"]
    cluster.put("jobs", foreign, unmarked)

    assert (await looked(cluster)).observed.jobs == ()


@pytest.mark.parametrize(("stuck", "mended", "kept"), [(True, False, True), (True, True, False), (False, True, True)])
async def test_a_job_that_cannot_start_is_outdated_once_the_workload_is_another(
    cluster: MemoryApi, *, stuck: bool, mended: bool, kept: bool
) -> None:
    wish = resource({"planKey": KEY})
    found = migration_job(wish, parse(wish), Memory(plan_key=KEY), "plan", 0, deployment())
    found["metadata"] |= {"uid": "uid-j", "creationTimestamp": timestamp(NOW - 10)}
    waiting = {"reason": "ImagePullBackOff" if stuck else "ContainerCreating"}
    one = pod_of("j", "Pending", waiting=waiting)
    cluster.put("jobs", found)
    cluster.put("pods", one)
    if mended:
        cluster.put("deployments", deployment(imagePullSecrets=[{"name": "pull"}]))

    assert ((await only_job(cluster)).plan_key == KEY) is kept


CONTRACT: dict[str, Any] = {"digest": "sha256:" + "0" * 64, "revisions": [{"id": "0003", "kind": "contract"}]}


async def test_pods_are_listed_last_when_a_contract_is_to_run_and_those_of_jobs_are_not_among_them(
    cluster: MemoryApi,
) -> None:
    cluster.put("schemamigrations", resource({"planKey": KEY, "done": ["plan"], "plan": CONTRACT}))
    cluster.put("jobs", job("j", "expand"))
    cluster.put("pods", pod_of("j", running={}), consumer("a"), consumer("b", phase="Succeeded"))
    cluster.logs["j-pod"] = ""

    found = (await looked(cluster)).observed

    assert cluster.calls[-1] == "list pods"
    assert [one.name for one in found.pods] == ["a"]
    assert found.pods[0].image_ids == {IMAGE_ID}


async def test_pods_are_listed_in_the_very_look_that_reads_a_contract(cluster: MemoryApi) -> None:
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}), consumer("a"))
    cluster.logs["j-pod"] = plan_log(revision("0003", "contract"))

    assert [one.name for one in (await looked(cluster)).observed.pods] == ["a"]


@pytest.mark.parametrize("done", [["plan", "contract"], ["plan"]])
async def test_pods_are_left_alone_when_no_contract_is_left(cluster: MemoryApi, done: list[str]) -> None:
    plan = CONTRACT if "contract" in done else {**CONTRACT, "revisions": [{"id": "0003", "kind": "expand"}]}
    cluster.put("schemamigrations", resource({"planKey": KEY, "done": done, "plan": plan}))

    await looked(cluster)

    assert "list pods" not in cluster.calls


def test_a_plan_is_read_back_from_a_status_that_leaves_out_what_is_empty() -> None:
    plan = Plan(CONTRACT["digest"], "", "", (Revision("0003", "contract"),))
    assert memory_of({"plan": CONTRACT}) == Memory(plan=plan)
