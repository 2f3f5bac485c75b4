"""A SchemaMigration as people see it: conditions, events, columns, Jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cluster.model import Cluster
from load.looking import seen

OPERATOR = "slipway-operator"
FAULT_WITHIN = 30.0
"""Seconds in which a fault must show under its own reason."""


@dataclass(frozen=True)
class Migration:
    cluster: Cluster
    namespace: str
    name: str = "slipway"

    @property
    def scope(self) -> str:
        return f"--namespace={self.namespace}"

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.kubectl.json("get", "schemamigration", self.name, self.scope)
        return found

    def condition(self, kind: str = "Ready") -> dict[str, Any]:
        """Empty where there is none."""
        return of_kind(self.read(), kind)

    def ready(self) -> bool:
        """Ready for the image that it names now, not for the one before."""
        shown = self.read()
        return seen_by_operator(shown) and of_kind(shown, "Ready").get("status") == "True"

    def become_ready(self, within: float = 90) -> dict[str, Any]:
        """The resource once it is Ready."""
        seen(self.ready, within, lambda: f"{self.name} Ready, but {self.told()}")
        return self.read()

    def shows(self, reason: str, state: str | None = None, within: float = FAULT_WITHIN) -> str:
        """The message once this reason is told of the spec of now; `state`: a condition that is True with it."""

        def look() -> str | None:
            shown = self.read()
            ready = of_kind(shown, "Ready")
            fits = seen_by_operator(shown) and ready.get("reason") == reason
            if state is not None:
                fits = fits and of_kind(shown, state).get("status") == "True"
            return str(ready["message"]) if fits else None

        return seen(look, within, lambda: f"{self.name} {state or ''} {reason}, but {self.told()}")

    def told(self) -> str:
        """Its conditions and events, for people who look into a failure."""
        shown = self.read()
        lines = [f"generation {shown['metadata']['generation']}, {shown['status'].get('observedGeneration')} observed"]
        conditions = shown["status"].get("conditions", [])
        lines += [f"{one['type']}={one['status']} {one['reason']}: {one['message']}" for one in conditions]
        lines += [" ".join(event) for event in self.events()]
        return "\n".join(lines)

    def patch(self, spec: dict[str, Any], *who: str) -> None:
        """As a person does by hand; `who`: kubectl's options of another identity."""
        body = json.dumps({"spec": spec})
        self.cluster.kubectl.run(
            "patch", "schemamigration", self.name, self.scope, "--type=merge", f"--patch={body}", *who
        )

    def replan(self, nonce: str) -> None:
        """Have it tried anew, as docs/operations.md says."""
        annotation = f"slipway.dev/replan={nonce}"
        self.cluster.kubectl.run("annotate", "schemamigration", self.name, self.scope, annotation, "--overwrite")

    def events(self) -> list[tuple[str, str, str]]:
        """Type, reason and message of what the operator told, oldest first."""
        about = f"--field-selector=involvedObject.name={self.name},involvedObject.kind=SchemaMigration"
        found = self.cluster.kubectl.json("get", "events", self.scope, about)["items"]
        found.sort(
            key=lambda event: (event["metadata"]["creationTimestamp"], int(event["metadata"]["resourceVersion"]))
        )
        return [(event["type"], event["reason"], event["message"]) for event in found]

    def jobs(self, purpose: str) -> list[dict[str, Any]]:
        selector = f"--selector=slipway.dev/schemamigration={self.name},slipway.dev/purpose={purpose}"
        return list(self.cluster.kubectl.json("get", "jobs", self.scope, selector)["items"])

    def columns(self) -> dict[str, str]:
        """What `kubectl get` shows: heading → value."""
        lines = self.cluster.kubectl.run("get", "sm", self.name, self.scope).splitlines()
        starts = [lines[0].index(heading) for heading in lines[0].split()]
        ends = [*starts[1:], None]
        return {
            lines[0][start:end].strip(): lines[1][start:end].strip() for start, end in zip(starts, ends, strict=True)
        }


def of_kind(shown: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = shown["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def seen_by_operator(shown: dict[str, Any]) -> bool:
    """Whether what it says is about the spec of now."""
    return bool(shown["status"].get("observedGeneration") == shown["metadata"]["generation"])
