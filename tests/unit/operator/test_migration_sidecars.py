"""Containers that an injector put into a Job's pod, and that don't end when the Job's own have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.jobs import backup_job, migration_job
from slipway_operator.migrations.model import DeleteJob, JobSeen, Memory
from slipway_operator.migrations.observe import HELD
from slipway_operator.migrations.sight import job as seen_job
from slipway_operator.migrations.spec import parse
from slipway_operator.times import timestamp
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import NOW, deployment, marked, plan_log, resource, revision
from unit.operator.test_migration_decide import KEY as DECIDED_KEY
from unit.operator.test_migration_decide import PLANNED, look
from unit.operator.test_migration_decide import job as decided_job
from unit.operator.test_migration_observe import IMAGE_ID, KEY, job, looked, only_job, pod_of

ISTIO = {"name": "istio-proxy", "image": "istio/proxyv2:1", "state": {"running": {}}}
BACKUP = [{"name": "dump"}, {"name": "upload"}]
MINUTES = 600.0


def held(code: int = 0, ago: float = MINUTES, sidecar: dict[str, Any] | None = None) -> dict[str, Any]:
    """A running pod whose own container has ended."""
    pod = pod_of("j", terminated={"exitCode": code, "finishedAt": timestamp(NOW - ago)})
    pod["status"]["containerStatuses"].append(sidecar or ISTIO)
    return pod


@pytest.fixture
def cluster() -> MemoryApi:
    api = MemoryApi()
    api.put("schemamigrations", resource({"planKey": KEY}))
    api.put("deployments", deployment())
    api.put("jobs", job("j", active=1, ready=0))
    api.logs["j-pod"] = plan_log(revision("0002"))
    return api


async def test_a_plan_counts_once_its_own_container_has_ended(cluster: MemoryApi) -> None:
    cluster.put("pods", held())

    seen = await only_job(cluster)

    assert (seen.state, seen.ended, seen.held_by) == ("succeeded", NOW - MINUTES, ("istio-proxy",))
    assert seen.plan is not None
    assert [one.id for one in seen.plan.revisions] == ["0002"]


async def test_a_failure_counts_with_its_own_reason(cluster: MemoryApi) -> None:
    cluster.put("pods", held(code=1))
    cluster.logs["j-pod"] = marked({"type": "failed", "reason": "RoleUnfit", "message": "no right", "lasting": True})

    seen = await only_job(cluster)

    assert (seen.state, seen.held_by) == ("failed", ("istio-proxy",))
    assert seen.trouble is not None
    assert seen.trouble.reason == "RoleUnfit"


@pytest.mark.parametrize(("ago", "state"), [(0.0, "running"), (HELD - 1, "running"), (HELD, "succeeded")])
async def test_a_sidecar_has_a_moment_to_end_by_itself(cluster: MemoryApi, ago: float, state: str) -> None:
    cluster.put("pods", held(ago=ago))

    assert (await only_job(cluster)).state == state


async def test_a_node_whose_clock_is_fast_keeps_no_job_open(cluster: MemoryApi) -> None:
    cluster.put("pods", held(ago=-3600))

    assert (await only_job(cluster)).state == "succeeded"


async def test_a_sidecar_that_has_ended_as_well_is_the_job_controllers_to_count(cluster: MemoryApi) -> None:
    cluster.put("pods", held(sidecar={**ISTIO, "state": {"terminated": {"exitCode": 0}}}))

    assert (await only_job(cluster)).state == "running"


async def test_a_pod_that_goes_already_is_waited_for(cluster: MemoryApi) -> None:
    going = held()
    going["metadata"]["deletionTimestamp"] = timestamp(NOW)
    cluster.put("pods", going)

    assert (await only_job(cluster)).state == "running"


def test_of_a_job_with_several_containers_all_must_have_ended() -> None:
    found = job("j", "backup")
    found["spec"]["template"]["spec"]["containers"].append({"name": "upload"})
    one, both = held(), held()
    for pod, state in ((one, {"running": {}}), (both, {"terminated": {"exitCode": 0}})):
        pod["status"]["containerStatuses"].append({"name": "upload", "state": state})

    open_, ended = seen_job(found, [one]), seen_job(found, [both])

    assert open_ is not None
    assert ended is not None
    assert (open_.state, open_.held_by) == ("running", ())
    assert (ended.state, ended.held_by) == ("succeeded", ("istio-proxy",))


async def test_a_container_that_was_put_into_the_job_itself_holds_it_no_longer(cluster: MemoryApi) -> None:
    found = cluster.objects["jobs", "j"]
    found["metadata"]["annotations"]["slipway.dev/containers"] = "api"
    found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "istio-proxy"})
    cluster.put("pods", held())

    seen = await only_job(cluster)

    assert (seen.state, seen.held_by, seen.image_id) == ("succeeded", ("istio-proxy",), IMAGE_ID)
    assert seen.plan is not None, "the log of its own container tells"


def test_a_job_notes_the_containers_that_were_asked_for() -> None:
    cron_job = {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": BACKUP}}}}}}
    asked, memory = parse(resource()), Memory(plan_key=KEY)

    plan = migration_job(resource(), asked, memory, "plan", 0, deployment())
    backup = backup_job(resource(), asked, memory, 0, cron_job)

    noted = [one["metadata"]["annotations"]["slipway.dev/containers"] for one in (plan, backup)]
    assert noted == ["api", "dump,upload"]


@pytest.mark.parametrize(("policy", "state"), [("Never", "failed"), ("OnFailure", "running")])
def test_a_container_that_is_started_again_has_not_ended(policy: str, state: str) -> None:
    found = job("j", "backup")
    found["spec"]["template"]["spec"]["restartPolicy"] = policy

    seen = seen_job(found, [held(code=1)])

    assert seen is not None
    assert seen.state == state


async def test_its_log_is_read_before_the_job_goes(cluster: MemoryApi) -> None:
    cluster.put("pods", held())

    decision = decide((await looked(cluster)).observed, NOW)

    assert decision.memory.plan is not None
    assert decision.memory.done == {"plan"}
    assert decision.effect == DeleteJob("j")
    assert decision.verdict.reason == "SidecarHolds"
    assert "istio-proxy" in decision.verdict.message
    assert "spec.jobAnnotations" in decision.verdict.message


def held_job(memory: Memory) -> JobSeen:
    name = memory.ended or "app-expand"
    return replace(decided_job("expand", "succeeded"), name=name, plan_key=DECIDED_KEY, held_by=("istio-proxy",))


def test_a_job_that_was_counted_and_not_yet_removed_is_removed_after_a_crash() -> None:
    memory = replace(PLANNED, ended="app-expand", done=frozenset({"plan", "expand"}))

    decision = decide(look(memory, jobs=(held_job(memory),)), NOW)

    assert (decision.effect, decision.memory.done) == (DeleteJob("app-expand"), memory.done)


def test_it_is_removed_while_the_resource_is_suspended_too() -> None:
    decision = decide(look(spec={"suspend": True}, jobs=(held_job(PLANNED),)), NOW)

    assert decision.effect == DeleteJob("app-expand")
