"""A KeyRing or a DatabaseLogin as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any, ClassVar
from uuid import uuid4

from load.looking import seen
from operated.resource import Resource, of_kind, seen_by_operator


@dataclass(frozen=True)
class Rotating(Resource):
    def rotate(self) -> str:
        """Ask for a rotation now; the nonce that asks."""
        nonce = uuid4().hex[:12]
        self.patch({"rotateNonce": nonce})
        return nonce

    def handled(self, nonce: str, within: float = 60, result: str = "Confirmed") -> dict[str, Any]:
        """The rotation of that nonce as the history tells it, once every pod was seen to have followed.

        `result` is what it ends with: `Unverified` where evidence is Time.
        """

        def look() -> dict[str, Any] | None:
            status = self.status()
            newest: dict[str, Any] = next(iter(status.get("history", [])), {})
            return newest if status.get("handledNonce") == nonce and newest.get("result") == result else None

        return seen(look, within, lambda: f"{self.kind}'s rotation {nonce} {result}, but {self.told()}")


@dataclass(frozen=True)
class KeyRing(Rotating):
    kind: ClassVar[str] = "KeyRing"

    def stages(self) -> dict[str, str]:
        """Key → its stage."""
        return {key["id"]: key["state"] for key in self.status().get("keys", [])}

    def retires(self, key: str) -> bool:
        """Whether it is known when this old key leaves."""
        return any(held["id"] == key and "retireAfter" in held for held in self.status().get("keys", []))

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

    def revoked_everywhere(self, key: str) -> dict[str, Any] | None:
        """The status in which the operator saw that no pod holds it any more."""
        shown = self.read()
        status: dict[str, Any] = shown["status"]
        stages = {held["id"]: held["state"] for held in status.get("keys", [])}
        ready = of_kind(shown, "Ready")
        revoked = seen_by_operator(shown) and stages.get(key) == "Revoked" and ready.get("status") == "True"
        return status if revoked else None

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
class DatabaseLogin(Rotating):
    kind: ClassVar[str] = "DatabaseLogin"

    def role(self) -> str:
        return str(self.status()["role"])
