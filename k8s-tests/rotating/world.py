"""A release of the chart whose keys and logins the operator rotates, with lifetimes of seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

from cluster.errors import ClusterError
from cluster.model import Cluster
from load.disturbances import pods, settled
from load.harness import Outcome, RunningLoad, running_load
from load.installed import PATIENT
from load.looking import seen
from migrating import database
from migrating.life import Life
from rotating import material
from rotating.material import Seeker
from rotating.resource import DatabaseLogin, KeyRing, Rotating
from rotating.traffic import RotatingOutcome, RotatingTraffic

TOKEN_LIFETIME, LEEWAY, VALIDATOR_CACHE, PROPAGATION = 8, 1, 3, 4
"""Seconds."""
RING = {
    "tokenLifetime": f"{TOKEN_LIFETIME}s",
    "leeway": f"{LEEWAY}s",
    "validatorCache": f"{VALIDATOR_CACHE}s",
    "propagation": f"{PROPAGATION}s",
    "rotateEvery": "720h",
}
SHORT = {"SLIPWAY_ACCESS_TOKEN_TTL": str(TOKEN_LIFETIME), "SLIPWAY_TOKEN_LEEWAY": str(LEEWAY)}
SMALL = {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "384Mi"}}
BASE: dict[str, Any] = {
    "keyRing": RING,
    "resources": SMALL,
    "migrations": {"resources": SMALL},
    "database": {"poolSize": 2, "maxOverflow": 3},
    "extraEnv": [{"name": name, "value": value} for name, value in {**PATIENT, **SHORT}.items()],
}


class World(Life):
    """The release; what its Secrets ever held is noted, to be looked for elsewhere."""

    def __init__(
        self, cluster: Cluster, namespace: str, generator: str, say: Callable[[str], None], base: dict[str, Any]
    ) -> None:
        super().__init__(cluster, namespace, generator, say, base)
        self._image = generator
        self.ring = KeyRing(cluster, namespace)
        self.login = DatabaseLogin(cluster, namespace)
        self.seeker = Seeker()
        self.rotated = False

    def secret(self, name: str) -> dict[str, Any]:
        """Raises ClusterError where there is none."""
        found = material.read(self.cluster, self.namespace, name)
        if found is None:
            raise ClusterError(f"there is no Secret {name}")
        self.seeker.note(found)
        return found

    def restore(self, secret: dict[str, Any]) -> None:
        """Bring a Secret back from a backup, as docs/operations.md says."""
        kept = {name: secret["metadata"].get(name, {}) for name in ("name", "labels", "annotations")}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": kept, "type": secret["type"], "data": secret["data"]}
        found = material.read(self.cluster, self.namespace, secret["metadata"]["name"])
        verb = "create" if found is None else "replace"
        self.cluster.kubectl.run(verb, "--filename=-", self.scope, input=json.dumps(body))

    def note_secrets(self) -> None:
        for name in (material.RING, material.LOGIN):
            self.seeker.note(material.read(self.cluster, self.namespace, name))

    def load(self, **traffic: Any) -> AbstractContextManager[RunningLoad]:
        asked = RotatingTraffic(validator_cache=VALIDATOR_CACHE, **traffic)
        return running_load(self.cluster, self.namespace, self._image, asked)

    def judged(self, scenario: str, outcome: Outcome, *revoked: str) -> RotatingOutcome:
        """Say the scenario's figures, whether they please or not."""
        judged = RotatingOutcome(outcome.report, frozenset(revoked))
        self.say(judged.sentence(scenario))
        return judged

    def settled(self, count: int, component: str = "api", within: float = 90) -> list[str]:
        return settled(self.cluster, self.namespace, count, component, within)

    def scale(self, count: int) -> None:
        self.cluster.kubectl.run("scale", "deployment/slipway", self.scope, f"--replicas={count}")

    def keys_of_pods(self) -> dict[str, dict[str, Any]]:
        """Pod → what it reports, asked inside the pod."""
        names = [pod["metadata"]["name"] for pod in pods(self.cluster, self.namespace)]
        return {name: json.loads(self.fetched(name, "/keys")) for name in names}

    def sessions_of(self, role: str) -> int:
        """How many sessions PostgreSQL lists of it."""
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"  # noqa: S608 - a role of ours
        return int(database.sql(self.cluster, self.namespace, asked)[0][0])

    def propagation(self, kind: str) -> tuple[float, float]:
        """How many changes of a Secret all pods were seen to follow, and the seconds that took altogether."""
        name = "slipway_operator_secret_propagation_seconds"
        return self.metric(f"{name}_count", kind=kind), self.metric(f"{name}_sum", kind=kind)

    def followed(self, resource: Rotating) -> float:
        """Seconds from the write of a Secret until each pod was seen to follow it, of a rotation that is asked for."""
        self.ring.ripe_reserve(VALIDATOR_CACHE)
        count, seconds = self.propagation(resource.kind)
        resource.handled(resource.rotate())
        seen(lambda: self.propagation(resource.kind)[0] > count, 10, f"{resource.kind}'s figure")
        after, total = self.propagation(resource.kind)
        return (total - seconds) / (after - count)


@contextmanager
def world_opened(
    cluster: Cluster, generator: str, say: Callable[[str], None], base: dict[str, Any] | None = None
) -> Iterator[World]:
    """In a namespace of its own, with nothing installed yet; `generator` is the image of everything."""
    with cluster.namespace(f"rotations-{uuid4().hex[:6]}") as namespace:
        yield World(cluster, namespace, generator, say, {**BASE, **(base or {})})


@contextmanager
def world_at_work(cluster: Cluster, image: str, say: Callable[[str], None]) -> Iterator[World]:
    """The same with the release of `image` installed, whose keys and login are ready."""
    with world_opened(cluster, image, say) as world:
        world.upgrade(image)
        world.ring.become_ready()
        world.login.become_ready()
        yield world
