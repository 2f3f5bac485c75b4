"""What the pods that use a Secret tell of themselves: the evidence that a rotation rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE = 600.0
"""Seconds for which a Job that runs on, or a node that is lost, is waited for without asking for a person."""
NOT_ASKED = "NotAsked"
"""Fault of a pod's report where evidence is Time."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to believe, by a ConfigMap of the namespace, and what name it must have proved."""

    config_map: str
    server_name: str
    key: str = "ca.crt"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where pods report. `selector`, as a LIST takes it: pods that count besides those that refer to the Secret.

    `port`: its number, or the name that a container of the pod gives it. `tls` None: in clear text.
    """

    selector: str = ""
    port: int | str = 9090
    path: str = "/keys"
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one process of a running pod told; `fault` is the CamelCase reason why it told nothing, or not all did.

    A pod runs when one of its containers does, ready or not, terminating or not; one in its init containers doesn't.
    `detail`: more about the fault, `way` a sentence that tells the way out, for people. `since`: when the fault began,
    or may have, in seconds since the epoch.
    """

    pod: str
    fault: str = ""
    keys: frozenset[str] = frozenset()
    signing: str = ""
    token_lifetime: float = 0.0
    """Seconds."""
    database_role: str = ""
    starting: bool = False
    """It has not started up yet, so nobody has been sent to it."""
    detail: str = ""
    way: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Consumers:
    """All pods that run and count, listed afresh.

    `refers`: whether a pod, or a workload, was seen that refers to the Secret: without one nothing is proved.
    `wanted`: pods that there should be, where none that refers to it runs. `unlisted`: what the API server said when it
    refused to list who may refer.
    """

    reports: tuple[Report, ...] = ()
    wanted: int = 0
    refers: bool = False
    unlisted: str = ""

    @property
    def pods(self) -> tuple[str, ...]:
        """Their names: of each pod once, however many processes told."""
        return tuple(dict.fromkeys(report.pod for report in self.reports))


@dataclass(frozen=True, slots=True)
class Lagging:
    """A pod that has not followed the last change, or can't be asked, and why; the rest as of a report."""

    pod: str
    reason: str
    detail: str = ""
    way: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """How far the pods follow a change. `opposed` told otherwise; `unheard` and `starting` told nothing.

    `nobody`: no pod runs although some are wanted, or nothing refers to the Secret: so there is nothing to be seen.
    """

    heard: int = 0
    opposed: tuple[Lagging, ...] = ()
    unheard: tuple[Lagging, ...] = ()
    starting: tuple[Lagging, ...] = ()
    nobody: bool = False

    @property
    def all(self) -> bool:
        return not (self.lagging or self.nobody)

    @property
    def lagging(self) -> tuple[Lagging, ...]:
        return (*self.opposed, *self.unheard, *self.starting)


def following(consumers: Consumers, objection: Callable[[Report], str]) -> Following:
    """`objection`: CamelCase reason why one that told something doesn't follow; empty if it does.

    A pod follows when all its processes do.
    """
    opposed: dict[str, Lagging] = {}
    unheard: dict[str, Lagging] = {}
    starting: dict[str, Lagging] = {}
    for report in consumers.reports:
        if report.fault:
            told = starting if report.starting else unheard
            told.setdefault(report.pod, lagging(report))
        elif reason := objection(report):
            opposed.setdefault(report.pod, Lagging(report.pod, reason))
    silent = {pod: one for pod, one in unheard.items() if pod not in opposed}
    young = {pod: one for pod, one in starting.items() if pod not in opposed.keys() | silent.keys()}
    return Following(
        heard=len(consumers.pods) - len(opposed) - len(silent) - len(young),
        opposed=tuple(opposed.values()),
        unheard=tuple(silent.values()),
        starting=tuple(young.values()),
        nobody=consumers.wanted > 0 or not consumers.refers,
    )


def lagging(report: Report) -> Lagging:
    """Of a report with a fault."""
    return Lagging(report.pod, report.fault, report.detail, report.way, report.since)


def stuck(found: Following, changed: float, now: float) -> Lagging | None:
    """One that only a person can help: a pod of a Job that has run on for long, or of a node that is lost.

    `changed`: since when it is waited for, in seconds since the epoch, as `now` is.
    """
    begun = {"JobRuns": changed, "NodeLost": 0.0}
    waited = ((one, now - max(one.since or 0.0, begun[one.reason])) for one in found.unheard if one.reason in begun)
    return next((one for one, seconds in waited if seconds > PATIENCE), None)


def unreferred(consumers: Consumers, secret: str, selector: str) -> tuple[str, str]:
    """CamelCase reason and sentences where nothing was seen that refers to the Secret; else two empty texts."""
    if consumers.refers:
        return "", ""
    if consumers.unlisted:
        text = f"Whether anything refers to the Secret {secret} can't be seen: {consumers.unlisted}."
        return "ConsumersUnlisted", f"{text} Give the operator that right; what it can't see it doesn't take for fine."
    text = (
        f"Nothing in this namespace refers to the Secret {secret}: no pod and no workload mounts it, or names it in "
        "env or envFrom."
    )
    if consumers.reports:
        names = ", ".join(consumers.pods[:3])
        text += f" consumers.selector ({selector}) finds {len(consumers.pods)} that don't refer to it: {names}."
    return "NoConsumers", f"{text} Nothing seen proves nothing. Mount it where it is used, or correct secretName."


def named(lagging: Sequence[Lagging], most: int = 5) -> str:
    """For a message: `a (KeyMissing), b (ProcessesUnheard: 3 heard of 4) and 3 more`."""
    shown = ", ".join(f"{one.pod} ({': '.join(filter(None, (one.reason, one.detail)))})" for one in lagging[:most])
    return f"{shown} and {len(lagging) - most} more" if len(lagging) > most else shown


def ways_out(lagging: Sequence[Lagging], most: int = 3) -> str:
    """Sentences for the end of a message, each once, with a space before it."""
    ways = dict.fromkeys(one.way for one in lagging if one.way)
    return "".join(f" {way}" for way in list(ways)[:most])
