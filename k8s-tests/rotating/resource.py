"""A KeyRing or a DatabaseLogin as people see it: conditions, events, what its status tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any
from uuid import uuid4

from cluster.model import Cluster
from load.looking import seen
from migrating.resource import of_kind, seen_by_operator


@dataclass(frozen=True)
class Resource:
    cluster: Cluster
    namespace: str
    kind: str
    name: str = "slipway"

    @property
    def scope(self) -> str:
        return f"--namespace={self.namespace}"

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.kubectl.json("get", self.kind.lower(), self.name, self.scope)
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.read()["status"]
        return found

    def patch(self, spec: dict[str, Any]) -> None:
        """As a person does by hand."""
        words = ("patch", self.kind.lower(), self.name, self.scope, "--type=merge")
        self.cluster.kubectl.run(*words, f"--patch={json.dumps({'spec': spec})}")

    def rotate(self) -> str:
        """Ask for a rotation now; the nonce that asks."""
        nonce = uuid4().hex[:12]
        self.patch({"rotateNonce": nonce})
        return nonce

    def shows(self, reason: str, state: str | None = None, within: float = 30) -> str:
        """The message once this reason is told of the spec of now; `state`: a condition that is True with it."""

        def look() -> str | None:
            shown = self.read()
            ready = of_kind(shown, "Ready")
            fits = seen_by_operator(shown) and ready.get("reason") == reason
            if state is not None:
                fits = fits and of_kind(shown, state).get("status") == "True"
            return str(ready["message"]) if fits else None

        return seen(look, within, lambda: f"{self.kind} {state or ''} {reason}, but {self.told()}")

    def become_ready(self, within: float = 60) -> dict[str, Any]:
        """The status once it is Ready for the spec of now."""

        def look() -> dict[str, Any] | None:
            shown = self.read()
            fits = seen_by_operator(shown) and of_kind(shown, "Ready").get("status") == "True"
            return shown if fits else None

        found: dict[str, Any] = seen(look, within, lambda: f"{self.kind} Ready, but {self.told()}")["status"]
        return found

    def handled(self, nonce: str, within: float = 60) -> dict[str, Any]:
        """The rotation of that nonce as the history tells it, once every pod was seen to have followed."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            newest: dict[str, Any] = next(iter(status.get("history", [])), {})
            return newest if status.get("handledNonce") == nonce and newest.get("result") == "Confirmed" else None

        return seen(look, within, lambda: f"{self.kind}'s rotation {nonce} confirmed, but {self.told()}")

    def events(self) -> list[tuple[str, str, str]]:
        """Type, reason and message of what the operator told, oldest first."""
        about = f"--field-selector=involvedObject.name={self.name},involvedObject.kind={self.kind}"
        found = self.cluster.kubectl.json("get", "events", self.scope, about)["items"]
        found.sort(key=lambda event: event["metadata"]["creationTimestamp"])
        return [(event["type"], event["reason"], event["message"]) for event in found]

    def told(self) -> str:
        """Its spec, status and events, for people who look into a failure."""
        shown = self.read()
        lines = [json.dumps({"spec": shown["spec"], "status": shown["status"]}, indent=1)]
        return "\n".join([*lines, *(" ".join(event) for event in self.events())])


@dataclass(frozen=True)
class KeyRing(Resource):
    kind: str = "KeyRing"

    def stages(self) -> dict[str, str]:
        """Key → its stage."""
        return {key["id"]: key["state"] for key in self.status().get("keys", [])}

    def signing(self) -> str:
        return str(self.status()["signing"])

    def reserve_algorithm(self) -> str:
        found = [key for key in self.status().get("keys", []) if key["state"] == "Published"]
        return str(found[0]["algorithm"]) if len(found) == 1 else ""

    def ripe_reserve(self, cache: float, within: float = 60) -> str:
        """The published key, once it may sign: `cache` seconds after the last look that could still change that."""

        def look() -> str | None:
            shown = self.read()
            propagation = float(shown["spec"]["propagation"].removesuffix("s"))
            found = [key for key in shown["status"].get("keys", []) if key["state"] == "Published"]
            return next((str(key["id"]) for key in found if _ripe(key, cache + propagation)), None)

        return seen(look, within, lambda: f"a ripe reserve, but {self.told()}")

    def revoked_everywhere(self, key: str) -> bool:
        """Whether the operator saw that no pod holds it any more."""
        shown = self.read()
        stages = {held["id"]: held["state"] for held in shown["status"].get("keys", [])}
        ready = of_kind(shown, "Ready")
        return seen_by_operator(shown) and stages.get(key) == "Revoked" and ready.get("status") == "True"

    def without(self, key: str, within: float = 60) -> None:
        """Returns once the key is no more in the ring, revoked or retired."""
        seen(
            lambda: self.stages().get(key) in {None, "Revoked"},
            within,
            lambda: f"the end of key {key}, but {self.told()}",
        )


def _ripe(key: dict[str, Any], after: float) -> bool:
    """A second more than needed: looks come each second."""
    return "confirmed" in key and time() > datetime.fromisoformat(key["confirmed"]).timestamp() + after + 1


@dataclass(frozen=True)
class DatabaseLogin(Resource):
    kind: str = "DatabaseLogin"

    def role(self) -> str:
        return str(self.status()["role"])
