"""A resource that the operator looks after, as people see it: conditions, events, what its status tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.model import Cluster
from load.looking import seen

OPERATOR = "slipway-operator"
FAULT_WITHIN = 30.0
"""Seconds in which a fault must show under its own reason."""


@dataclass(frozen=True)
class Resource:
    kind: ClassVar[str]

    cluster: Cluster
    namespace: str
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

    def condition(self, kind: str = "Ready") -> dict[str, Any]:
        """Empty where there is none."""
        return of_kind(self.read(), kind)

    def ready(self) -> bool:
        """Ready for the spec of now, not for the one before."""
        shown = self.read()
        return seen_by_operator(shown) and of_kind(shown, "Ready").get("status") == "True"

    def patch(self, spec: dict[str, Any], *who: str) -> None:
        """As a person does by hand; `who`: kubectl's options of another identity."""
        words = ("patch", self.kind.lower(), self.name, self.scope, "--type=merge")
        self.cluster.kubectl.run(*words, f"--patch={json.dumps({'spec': spec})}", *who)

    def shows(self, reason: str, state: str | None = None, within: float = FAULT_WITHIN, *, saying: str = "") -> str:
        """The message once this reason is told of the spec of now; `state`: a condition that is True with it.

        `saying`: what is in the message, where others may come before it.
        """

        def look() -> str | None:
            shown = self.read()
            ready = of_kind(shown, "Ready")
            fits = seen_by_operator(shown) and ready.get("reason") == reason and saying in ready["message"]
            if state is not None:
                fits = fits and of_kind(shown, state).get("status") == "True"
            return str(ready["message"]) if fits else None

        return seen(look, within, lambda: f"{self.kind} {self.name} {state or ''} {reason} {saying}, but {self.told()}")

    def become_ready(self, within: float = 90) -> dict[str, Any]:
        """The resource once it is Ready for the spec of now."""
        seen(self.ready, within, lambda: f"{self.kind} {self.name} Ready, but {self.told()}")
        return self.read()

    def events(self) -> list[tuple[str, str, str]]:
        """Type, reason and message of what the operator told, oldest first."""
        about = f"--field-selector=involvedObject.name={self.name},involvedObject.kind={self.kind}"
        found = self.cluster.kubectl.json("get", "events", self.scope, about)["items"]
        found.sort(
            key=lambda event: (event["metadata"]["creationTimestamp"], int(event["metadata"]["resourceVersion"]))
        )
        return [(event["type"], event["reason"], event["message"]) for event in found]

    def told(self) -> str:
        """Its spec, status and events, for people who look into a failure."""
        shown = self.read()
        lines = [json.dumps({"spec": shown["spec"], "status": shown["status"]}, indent=1)]
        return "\n".join([*lines, *(" ".join(event) for event in self.events())])


def of_kind(shown: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = shown["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def seen_by_operator(shown: dict[str, Any]) -> bool:
    """Whether what it says is about the spec of now."""
    return bool(shown["status"].get("observedGeneration") == shown["metadata"]["generation"])
