"""What goes wrong with a Job of a schema migration shows under its own reason within 30 s, and passes once mended.

Beside what k8s-tests/test_migrations_faults.py shows: images, logins, heads, locks, refused pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest

from cluster.commands import CommandError
from cluster.images.releases import Release
from cluster.model import Cluster
from load.disturbances import pods
from load.looking import seen
from load.reporting import line_writer
from migrating.database import table_held, waiting_for
from migrating.life import SMALL, Life, life_opened
from migrating.outages import container_away, kubelet_away
from migrating.plain import CONTAINER, deployment, migration
from migrating.pooler import pooled
from migrating.resource import Migration
from operated.instead import operator_instead
from operated.resource import FAULT_WITHIN

pytest_plugins = ["migrating.fixtures"]
pytestmark = pytest.mark.timeout(240)

OWNER = "slipway-database-owner"
PLANNING = "slipway db plan"
"""Name of the plan's sessions in PostgreSQL."""


@pytest.fixture(scope="module")
def life(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[Life]:
    with life_opened(cluster, service_image, line_writer(pytestconfig), SMALL) as opened:
        opened.upgrade(service_image)
        yield opened


@pytest.fixture
def beside(life: Life) -> Callable[[str], Migration]:
    """A resource beside the chart's own, of the same database."""
    return lambda name: Migration(life.cluster, life.namespace, name)


def told_in_time(life: Life, migration: Migration, reason: str, since: float, state: str = "Reconciling") -> str:
    """The message; printed with the seconds that it took."""
    message = migration.shows(reason, state, within=max(0.0, since + FAULT_WITHIN - monotonic()))
    life.say(f"{reason} after {monotonic() - since:.0f} s: {message}")
    return message


def mended(life: Life, migration: Migration, since: float) -> None:
    migration.become_ready(120)
    life.say(f"{migration.name} Ready {monotonic() - since:.0f} s after it was mended")


def test_a_job_without_memory_one_that_fails_and_one_that_no_node_takes(
    life: Life, service_image: str, beside: Callable[[str], Migration]
) -> None:
    hungry, failing, nowhere = beside("hungry"), beside("failing"), beside("nowhere")
    tight = deployment(hungry.name, service_image, resources={"limits": {"memory": "40Mi"}})
    away = deployment(nowhere.name, service_image)
    away["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    ended = migration(failing.name, service_image, OWNER, command=["sh", "-c", "exit 3"])
    wishes = [ended, *(migration(one.name, service_image, OWNER) for one in (hungry, nowhere))]
    begun = monotonic()
    life.cluster.kubectl.apply([tight, away, deployment(failing.name, service_image), *wishes], life.namespace)
    assert "memory" in told_in_time(life, hungry, "OutOfMemory", begun)
    assert f"{CONTAINER} ended with exit code 3" in told_in_time(life, failing, "CommandFailed", begun)
    told_in_time(life, nowhere, "Unschedulable", begun)

    since = monotonic()
    roomy = deployment(hungry.name, service_image, resources={"limits": {"memory": "256Mi"}})
    life.cluster.kubectl.apply([roomy, deployment(nowhere.name, service_image)], life.namespace)
    failing.patch({"command": None})
    for one in (hungry, failing, nowhere):
        mended(life, one, since)


def test_a_namespace_without_room_for_pods(life: Life) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}}
    life.cluster.kubectl.apply([{**quota, "spec": {"hard": {"pods": "0"}}}], life.namespace)
    begun = monotonic()
    life.migration.replan("no room")
    assert "exceeded quota: full" in told_in_time(life, life.migration, "AdmissionRefused", begun)
    life.cluster.kubectl.run("delete", "resourcequota", "full", life.scope)
    mended(life, life.migration, monotonic())


def test_a_plan_without_revisions_names_no_sql_and_without_that_guard_what_nobody_wrote(life: Life) -> None:
    def plan() -> dict[str, Any]:
        found: dict[str, Any] = life.migration.status().get("plan", {})
        return found

    life.migration.replan("nothing is new")
    seen(lambda: plan().get("revisions") == [], 60, life.migration.told)
    assert life.migration.sql() is None
    former = "configmap/slipway-plan"  # of the plan that made the schema
    life.cluster.kubectl.run("delete", former, life.scope)
    with operator_instead(life, "empty-plans"):
        life.migration.replan("unguarded")
        named = seen(lambda: plan().get("sql"), 60, life.migration.told)
        with pytest.raises(CommandError, match="not found"):
            life.migration.sql()
    life.say(f"without empty-plans: a plan of no revisions names {named}, which isn't there")
    life.migration.replan("guarded")
    seen(lambda: "sql" not in plan(), 60, life.migration.told)


def test_a_pooler_that_lends_sessions_for_a_transaction(
    life: Life,
    service_image: str,
    beside: Callable[[str], Migration],
    own_api_server: None,  # noqa: ARG001 - the pooler runs on the node
) -> None:
    through = beside("pooled")
    login = life.cluster.kubectl.json("get", "secret", OWNER, life.scope)["data"]
    with pooled(life.cluster, life.namespace, login) as place:
        begun = monotonic()
        made = deployment(through.name, service_image)
        wish = migration(through.name, service_image, "pooled-owner")
        life.cluster.kubectl.apply([secret(login, **place), made, wish], life.namespace)
        message = told_in_time(life, through, "PoolerInBetween", begun, "Stalled")
        assert "name host and port of PostgreSQL itself" in message
    since = monotonic()
    life.cluster.kubectl.apply([secret(login)], life.namespace)
    through.replan("mended")  # else it is looked at again within five minutes
    mended(life, through, since)


def secret(login: dict[str, str], **changes: str) -> dict[str, Any]:
    data = {key: value for key, value in login.items() if key not in {"uri", *changes}}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pooled-owner"}, "data": data}
    return {**made, "stringData": changes}


def test_a_node_that_answers_nobody_when_the_plan_is_to_be_read(
    life: Life,
    own_api_server: None,  # noqa: ARG001 - whose node may be stopped
) -> None:
    """The only node: the Job's pod ends, and its log is out of reach. That the node's pods are lost, it can't show."""
    (operator,) = life.operator_pods()
    with ExitStack() as node:
        with ExitStack() as plan, ExitStack() as reader:
            pid = plan.enter_context(table_held(life.cluster, life.namespace, "alembic_version", "ACCESS EXCLUSIVE"))
            life.migration.replan("lost node")
            seen(lambda: PLANNING in waiting_for(life.cluster, life.namespace, pid), 30, "a plan that waits")
            reader.enter_context(container_away(life.cluster, life.namespace, operator))
            plan.close()
            seen(lambda: all(ended(job) for job in life.migration.jobs("plan")), 30, "the end of the plan's Job")
            node.enter_context(kubelet_away())
        told_in_time(life, life.migration, "LogUnreachable", monotonic())
    mended(life, life.migration, monotonic())


def ended(job: dict[str, Any]) -> bool:
    return any(one["type"] in ("Complete", "Failed") for one in job["status"].get("conditions", []))


def test_a_contract_that_squawk_objects_to_runs_when_the_rule_is_ignored(
    life: Life, release: Callable[[Release], str]
) -> None:
    life.upgrade(release("expanded"))
    begun = monotonic()
    strict = {"failOn": "Warning", "ignore": []}
    life.upgrade(release("contracted"), wait=False, migrations={"lint": strict})
    assert "ban-drop-function" in told_in_time(life, life.migration, "LintFailed", begun, "Stalled")
    (finding,) = life.migration.read()["status"]["plan"]["findings"]
    assert (finding["rule"], finding["revision"]) == ("ban-drop-function", "drop_body")
    assert "drop_body" not in life.ledger()

    since = monotonic()
    life.upgrade(release("contracted"), migrations={"lint": {**strict, "ignore": ["ban-drop-function"]}})
    mended(life, life.migration, since)
    assert life.ledger()["drop_body"] == "applied"


def test_an_image_from_before_a_contract_is_refused_and_the_way_forward_is_open(
    life: Life, service_image: str, release: Callable[[Release], str]
) -> None:
    """Somebody rolls back past what the database can undo."""
    begun = monotonic()
    life.upgrade(service_image, wait=False)
    sentence = "Contract drop_body of a later release"
    assert sentence in told_in_time(life, life.migration, "RevisionUnknown", begun, "Stalled")
    seen(lambda: sentence in waiting_logs(life, service_image), 30, "a pod that says why it waits")
    assert life.serving(release("contracted"))
    assert not life.serving(service_image)

    since = monotonic()
    life.upgrade(release("contracted"))
    mended(life, life.migration, since)


def waiting_logs(life: Life, image: str) -> str:
    """What the init containers of the API's pods of an image have printed; one that never ran has no log to ask for."""
    found = [
        (pod["metadata"]["name"], container["name"])
        for pod in pods(life.cluster, life.namespace)
        for container in pod["status"].get("initContainerStatuses", [])
        if pod["spec"]["containers"][0]["image"] == image and container.get("containerID")
    ]
    return "".join(life.cluster.kubectl.run("logs", pod, name, life.scope) for pod, name in found)
