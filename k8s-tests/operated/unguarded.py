"""The operator with guards off, in its own image: `python -m operated.unguarded GUARD …`.

Each function here says which guard is off after it, and stands in `OFF` by its name. It finds no other file of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from time import time
from typing import Any

from slipway_operator import main, nodes
from slipway_operator.clock import ServerClock
from slipway_operator.cluster import CONFIG_MAPS, Api, ApiError
from slipway_operator.evidence import asking, lists
from slipway_operator.evidence import pods as evidence_pods
from slipway_operator.evidence.finding import Found
from slipway_operator.keyrings import decide as ring_decisions
from slipway_operator.keyrings.model import Observed as RingSeen
from slipway_operator.keyrings.take_in import Situation
from slipway_operator.lease import Lease, LostError
from slipway_operator.leases import HOME, Leases
from slipway_operator.logins import apply as logins
from slipway_operator.logins import decide as login_decisions
from slipway_operator.logins import postgres
from slipway_operator.logins import take_in as login_takes
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.migrations import apply as migration_apply
from slipway_operator.migrations import config_maps, images, observe, sight, situation, trouble
from slipway_operator.migrations import decide as migration_decide
from slipway_operator.migrations import pods as migration_pods
from slipway_operator.migrations.model import Plan
from slipway_operator.migrations.names import plan_config_map
from slipway_operator.migrations.report import Report

BEHIND = 45.0
"""Seconds."""


def fences() -> None:
    """It takes no notice of a Lease that it lost, nor of who came later and changed roles since."""
    module = vars(postgres)
    renewed, advanced = Lease.renew, module["_advance"]

    async def renew(self: Lease) -> None:
        with suppress(LostError, ApiError):
            await renewed(self)

    async def advance(connection: Any, pair: postgres.Pair) -> None:
        with suppress(TroubleError):
            await advanced(connection, pair)

    def left(self: Leases, namespace: str) -> float:
        del self, namespace
        return HOME.duration

    Lease.renew = renew  # type: ignore[method-assign]
    Leases.left = left  # type: ignore[method-assign]
    module["_advance"] = advance


def references() -> None:
    """It works as if it had seen what refers to each Secret, and all of that followed."""
    module = vars(asking)
    found: Callable[..., Awaitable[Found]] = module["find"]

    async def find(*asked: Any) -> Found:
        return replace(await found(*asked), refers=True)

    module["find"] = find


def right_clock() -> None:
    """The clock of its node is behind by so much: no process of this machine can have one of its own."""
    made = ServerClock.__init__

    def init(self: ServerClock) -> None:
        made(self, own=lambda: time() - BEHIND)

    ServerClock.__init__ = init  # type: ignore[assignment,method-assign]


def server_clock() -> None:
    """It tells all times by its node's clock, and of no difference."""

    def now(self: ServerClock) -> float:
        return self._own()

    def skew(self: ServerClock) -> float:
        del self
        return 0.0

    ServerClock.__call__ = now  # type: ignore[method-assign]
    ServerClock.skew = skew  # type: ignore[method-assign]


def pods_clocks() -> None:
    """That the clock of a pod, by which it makes tokens, is ahead of its own counts for nothing."""

    def ahead(clock: ServerClock, date: str | None) -> float:
        del clock, date
        return 0.0

    vars(asking)["_ahead"] = ahead


def empty_plans() -> None:
    """A plan names its SQL, also where it has no revisions, and so nothing that is written."""
    module = vars(observe)
    planned: Callable[[Report, str, str | None], Awaitable[Plan]] = module["_plan"]

    async def plan(told: Report, name: str, image_id: str | None) -> Plan:
        return replace(await planned(told, name, image_id), config_map=plan_config_map(name))

    module["_plan"] = plan


def suspension() -> None:
    """The status of a KeyRing tells of each wish as if it were done, also while the ring is suspended."""
    module = vars(ring_decisions)
    seen: Callable[[RingSeen, float], Situation] = module["situation"]

    def situation(observed: RingSeen, now: float) -> Situation:
        awake = replace(observed, spec=replace(observed.spec, suspend=False))
        return replace(seen(awake, now), observed=observed)

    module["situation"] = situation


def servers() -> None:
    """Whatever server the admin's Secret leads to is taken for the one that the roles are on."""
    for module in (login_takes, login_decisions, logins):
        vars(module)["moved"] = lambda *_: False


def owners() -> None:
    """A ConfigMap of the right name is its own."""

    async def write(api: Api, body: dict[str, Any]) -> None:
        await api.apply(CONFIG_MAPS, body["metadata"]["namespace"], body)

    vars(config_maps)["write"] = write


def sidecars() -> None:
    """A Job runs as long as its pod does, whatever somebody put into that."""
    vars(sight)["_held"] = lambda *_: None


def image_names() -> None:
    """What is named otherwise is another image."""
    for module in (situation, migration_decide):
        vars(module)["is_rewritten"] = lambda *_: False


def image_digests() -> None:
    """An image's id counts whole, with the repository by which its node knows it."""
    for module in (images, migration_decide, migration_pods, sight):
        vars(module)["digest_of"] = str


def lost_nodes() -> None:
    """Nobody looks whether a pod's node is lost."""
    for module in (sight, trouble, evidence_pods):
        vars(module)["lost"] = lambda *_: None


def lost_pods() -> None:
    """Pods whose node is lost are taken for gone."""
    seen, ended = sight.pod, vars(lists)["has_ended"]
    vars(sight)["pod"] = lambda found, now: None if nodes.lost(found, now) else seen(found, now)
    vars(lists)["has_ended"] = lambda pod: ended(pod) or nodes.lost(pod, time())


def _script(name: str, *changes: tuple[str, str]) -> None:
    real = vars(migration_apply)["script_files"]

    def script_files() -> dict[str, str]:
        files: dict[str, str] = real()
        for old, new in changes:
            files[name] = files[name].replace(old, new)
        return files

    vars(migration_apply)["script_files"] = script_files


def runner_imports() -> None:
    """The runner of foreign images imports what only asynchronous ones have."""
    _script("plain_watch.py", ("import asyncio\n", "import asyncio\nfrom sqlalchemy.ext.asyncio import AsyncEngine\n"))


def runner_words() -> None:
    """What the runner of foreign images didn't foresee ends it, and it tells nothing."""
    foreseen = ("ImportError", "BaseException")
    _script("plain_alembic.py", *((f"except {error} as", "except ZeroDivisionError as") for error in foreseen))


OFF: dict[str, Callable[[], None]] = {
    "fences": fences,
    "references": references,
    "right-clock": right_clock,
    "server-clock": server_clock,
    "pods-clocks": pods_clocks,
    "empty-plans": empty_plans,
    "suspension": suspension,
    "servers": servers,
    "owners": owners,
    "image-digests": image_digests,
    "image-names": image_names,
    "lost-nodes": lost_nodes,
    "lost-pods": lost_pods,
    "runner-imports": runner_imports,
    "runner-words": runner_words,
    "sidecars": sidecars,
}


def switch_off(guards: Iterable[str]) -> None:
    for guard in guards:
        OFF[guard]()


if __name__ == "__main__":
    switch_off(sys.argv[1:])
    main.main(["run"])
