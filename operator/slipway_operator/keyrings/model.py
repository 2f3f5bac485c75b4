"""What a decision about a key ring takes and gives: frozen, and free of kopf, clients, clocks and key material."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import Consumers, Endpoint, Lagging
from slipway_operator.rotations import Rotation

Algorithm = Literal["EdDSA", "ES256", "RS256"]
Stage = Literal["Published", "Signing", "Retiring", "Revoked"]
Cause = Literal["Schedule", "Nonce", "Revoke", "Created", "Healed"]


@dataclass(frozen=True, slots=True)
class Spec:
    """The wish, with durations in seconds. `endpoint` is None where evidence is Time."""

    secret_name: str
    endpoint: Endpoint | None
    algorithm: Algorithm = "EdDSA"
    rotate_every: float = 2_592_000.0
    token_lifetime: float = 900.0
    leeway: float = 60.0
    validator_cache: float = 600.0
    propagation: float = 120.0
    nonce: str = ""
    revoke: frozenset[str] = frozenset()
    retain: bool = True
    history_limit: int = 10
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the ring. `since`: its stage began. `confirmed`: all that run were first seen to follow it.

    `retire_after` is None while a pod may still sign with a Retiring key: its clock hasn't started. A reserve has one
    only if somebody's hand, or a pod, made it sign: those tokens need it as long as it has.
    `lifetime`: the longest that tokens were to live while it signed, in seconds; 0 for one that never did.
    """

    id: str
    algorithm: Algorithm
    stage: Stage
    created: float
    since: float
    confirmed: float | None = None
    retire_after: float | None = None
    lifetime: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What former looks wrote into the status; `history` newest first. `broken`: the Secret wasn't whole."""

    keys: tuple[Key, ...] = ()
    handled_nonce: str = ""
    history: tuple[Rotation, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key in the Secret. `genuine`: its private part is there and whole, and its id is its own (RFC 7638)."""

    id: str
    algorithm: Algorithm
    genuine: bool = True


@dataclass(frozen=True, slots=True)
class SecretSeen:
    """The Secret as it is.

    `ours`: the operator made it for this ring, or took it over; `offered`: its label invites to take it over.
    `intact`: its data are what the operator wrote last, by their digest. `cause` and `nonce` of that write.
    `owned`: it has the resource as its owner. `unfit`: which of its keys can't be held.
    """

    keys: tuple[HeldKey, ...]
    signing: str
    ours: bool
    offered: bool
    intact: bool
    owned: bool
    cause: Cause = "Schedule"
    nonce: str = ""
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """`secret` is None when there is none. `restorable`: ids whose private part the operator still has in memory.

    `anew`: the memory's times may be of another clock than this look's, so what waits begins anew.
    """

    name: str
    spec: Spec
    memory: Memory
    secret: SecretSeen | None
    consumers: Consumers = field(default_factory=Consumers)
    restorable: frozenset[str] = frozenset()
    anew: bool = False
    spec_fault: str | None = None


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Make the Secret hold the keys of `keep` and `fresh` new ones (0 to 2), of that algorithm.

    `signing` None: the first of the new ones signs. Cause and nonce are noted with it.
    """

    keep: tuple[str, ...]
    signing: str | None
    fresh: int
    algorithm: Algorithm
    cause: Cause
    nonce: str


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reason: str
    message: str
    unverified: bool = False
    running: int = 0
    confirmed: int = 0
    lagging: tuple[Lagging, ...] = ()
    next_rotation: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The memory and verdict to write, then at most one write of the Secret; `nudge`: pods whose files are behind.

    `look_again`: seconds until the next look.
    """

    memory: Memory
    verdict: Verdict
    effect: WriteSecret | None = None
    nudge: tuple[str, ...] = ()
    look_again: float | None = None
