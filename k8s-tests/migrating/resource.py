"""A SchemaMigration as people see it: also its columns and Jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from operated.resource import Resource


@dataclass(frozen=True)
class Migration(Resource):
    kind: ClassVar[str] = "SchemaMigration"

    def replan(self, nonce: str) -> None:
        """Have it tried anew, as docs/operations.md says."""
        annotation = f"slipway.dev/replan={nonce}"
        self.cluster.kubectl.run("annotate", "schemamigration", self.name, self.scope, annotation, "--overwrite")

    def sql(self) -> str | None:
        """Of its plan; None: the status names none. Raises CommandError where it names what isn't there."""
        named = self.status().get("plan", {}).get("sql")
        if named is None:
            return None
        found = self.cluster.kubectl.json("get", "configmap", named["name"], self.scope)
        return str(found["data"][named["key"]])

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
