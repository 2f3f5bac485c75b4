"""A release of the chart that goes from image to image, its schema looked after by the operator."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

import yaml
from prometheus_client.parser import text_string_to_metric_families

from cluster.commands import CommandError
from cluster.errors import ClusterError
from cluster.model import Cluster
from load.disturbances import pods, settled
from load.harness import Outcome, RunningLoad, Traffic, running_load
from load.installed import CHART, values
from load.looking import seen
from migrating import database
from migrating.resource import Migration
from operated.resource import OPERATOR
from slipway.migrations.script import read_chain

OURS = [revision.id for revision in read_chain().revisions]
"""The revisions of the release itself, which those of the tests follow."""

SMALL = {"replicas": 1, "worker": {"enabled": False}, "redis": {"enabled": False}}
"""For tests that load nothing."""
FETCH = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9090{path}', timeout=5).read().decode())"


class Life:
    """The release; `base` are values that every upgrade has."""

    def __init__(
        self, cluster: Cluster, namespace: str, generator: str, say: Callable[[str], None], base: dict[str, Any]
    ) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.migration = Migration(cluster, namespace)
        self._generator = generator
        self.say = say
        self._base = base

    @property
    def scope(self) -> str:
        return f"--namespace={self.namespace}"

    def values(self, image: str, **others: Any) -> dict[str, Any]:
        return values(image, **{**self._base, **others})

    def upgrade(self, image: str, *, wait: bool = True, timeout: float = 150, **others: Any) -> None:
        """As a deployment does; what people changed by hand is taken back. `others`: values on top."""
        options = ["--force-conflicts", "--skip-crds", f"--timeout={timeout:g}s"]
        options += ["--wait", "--wait-for-jobs"] if wait else []
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(self.values(image, **others), file)
            file.flush()
            words = ("upgrade", "--install", "slipway", str(CHART), self.scope, f"--values={file.name}", *options)
            try:
                self.cluster.helm.run(*words, timeout=timeout + 15)
            except CommandError as error:
                raise ClusterError(f"{error}\n{self._told()}") from None

    def _told(self) -> str:
        kubectl = self.cluster.kubectl
        log = f"deployment/{OPERATOR}"
        told = [kubectl.run("get", "pods,jobs", self.scope), self.migration.told()]
        return "\n".join([*told, kubectl.run("logs", log, self.scope, "--tail=20")])

    def rollout(self, action: str) -> None:
        """`pause`, `resume`, `undo` or `restart`, by hand."""
        self.cluster.kubectl.run("rollout", action, "deployment/slipway", self.scope)

    def rollout_done(self) -> None:
        self.cluster.kubectl.run("rollout", "status", "deployment/slipway", self.scope, "--timeout=90s", timeout=100)

    def ledger(self) -> dict[str, str]:
        return database.ledger(self.cluster, self.namespace)

    def columns_of_items(self) -> set[str]:
        asked = "SELECT column_name FROM information_schema.columns WHERE table_name = 'items'"
        return {row[0] for row in database.sql(self.cluster, self.namespace, asked)}

    def serving(self, image: str, component: str = "api") -> set[str]:
        """Names of the ready pods of an image that aren't leaving."""
        found = pods(self.cluster, self.namespace, component)
        return {pod["metadata"]["name"] for pod in found if _serves(pod, image)}

    def settled(self, count: int, component: str = "api") -> list[str]:
        return settled(self.cluster, self.namespace, count, component)

    def operator_scaled(self, count: int) -> None:
        """Returns when that many run and no other does."""
        self.cluster.kubectl.run("scale", f"deployment/{OPERATOR}", self.scope, f"--replicas={count}")
        seen(lambda: len(self.operator_pods()) == count, 60, f"{count} pods of the operator")
        if count:
            self.settled(count, "operator")

    def operator_pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in pods(self.cluster, self.namespace, "operator")]

    def fetched(self, pod: str, path: str) -> str:
        """What a pod of ours serves on its ops port."""
        return self.cluster.kubectl.run("exec", pod, self.scope, "--", "python", "-c", FETCH.format(path=path))

    def metric(self, name: str, **labels: str) -> float:
        """Of the operator that runs now; 0 where it has none such."""
        (operator,) = self.operator_pods()
        for family in text_string_to_metric_families(self.fetched(operator, "/metrics")):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0.0

    def operator_at_work(self) -> str:
        """Name of the pod whose operator holds the Lease; empty: none does."""
        lease = self.cluster.kubectl.json("get", "lease", OPERATOR, self.scope)
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]

    def operator_killed(self) -> None:
        """Without grace: its process gets no time to say goodbye. Returns when another one is at work."""
        gone = self.operator_pods()
        self.cluster.kubectl.run("delete", "pods", *gone, self.scope, "--grace-period=0", "--force")
        seen(lambda: not set(gone) & set(self.operator_pods()), 30, "the end of the killed operator")
        self.settled(1, "operator")
        seen(lambda: self.operator_at_work() in self.operator_pods(), 30, "another operator at work")

    def load(self, **traffic: Any) -> AbstractContextManager[RunningLoad]:
        return running_load(self.cluster, self.namespace, self._generator, Traffic(**traffic))

    def told(self, scenario: str, outcome: Outcome) -> Outcome:
        """Say the scenario's figures, whether they please or not."""
        self.say(outcome.sentence(scenario))
        return outcome


def _serves(pod: dict[str, Any], image: str) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    ours = any(container["image"] == image for container in pod["spec"]["containers"])
    return ready and ours and "deletionTimestamp" not in pod["metadata"]


@contextmanager
def life_opened(
    cluster: Cluster, generator: str, say: Callable[[str], None], base: dict[str, Any] | None = None
) -> Iterator[Life]:
    """In a namespace of its own, with nothing installed yet; `generator` is the image that loads."""
    with cluster.namespace(f"migrations-{uuid4().hex[:6]}") as namespace:
        yield Life(cluster, namespace, generator, say, base or {})
