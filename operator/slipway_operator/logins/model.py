"""What a decision about a database login takes and gives: frozen, and free of kopf, clients, clocks and passwords."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slipway_operator.conditions import State
from slipway_operator.evidence.consumers import Consumers, Endpoint, Lagging
from slipway_operator.rotations import Rotation

Cause = Literal["Schedule", "Nonce", "Created", "Healed"]


@dataclass(frozen=True, slots=True)
class Spec:
    """The wish, with durations in seconds."""

    admin_secret: str
    member_of: str
    roles: tuple[str, str]
    secret_name: str
    endpoint: Endpoint
    rotate_every: float = 2_592_000.0
    connection_limit: int | None = None
    nonce: str = ""
    history_limit: int = 10
    suspend: bool = False
    admin_address: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What former looks wrote into the status.

    `scrambled`: roles whose password nobody knows. `history` newest first.
    """

    role: str = ""
    role_since: float | None = None
    handled_nonce: str = ""
    scrambled: frozenset[str] = frozenset()
    history: tuple[Rotation, ...] = ()
    server: str = ""
    """Of the roles: the one that was looked at first, or that a person accepted since."""


@dataclass(frozen=True, slots=True)
class SecretSeen:
    """The Secret as it is; the fields as of a KeyRing's.

    `role`: the username in it. `address_ok`: host, port and database are the admin Secret's.
    """

    role: str
    ours: bool
    offered: bool
    intact: bool
    address_ok: bool
    cause: Cause = "Schedule"
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A role as PostgreSQL lists it; `unfit` says what lacks.

    `fit`: it may log in, is a member of `memberOf`, acts as it, has the wanted connection limit, and no right beyond.
    `term`: of the operator that was the last to look after it; None: it isn't marked as this login's.
    """

    name: str
    exists: bool
    fit: bool = False
    unfit: str = ""
    term: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a role: who it is, never what it runs. `started` in seconds since the epoch."""

    pid: int
    role: str
    application_name: str = ""
    state: str = ""
    started: float | None = None


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """What the admin's login could see. `sessions`: of both roles.

    `logs_in`: whether PostgreSQL takes the password in the Secret; None: it could not be asked.
    """

    roles: tuple[RoleSeen, ...]
    sessions: tuple[Session, ...] = ()
    logs_in: bool | None = None
    server: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the database can't be looked at or altered. `lasting`: a person must act."""

    reason: str
    message: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """`database` is None when it could not be looked at; `trouble` tells why.

    `migrating`: name of a Job that migrates the same database now; empty for none.
    `scrambled`: roles whose password this very process made unknown since its last look.
    """

    name: str
    spec: Spec
    memory: Memory
    secret: SecretSeen | None
    consumers: Consumers = field(default_factory=Consumers)
    database: DatabaseSeen | None = None
    trouble: Trouble | None = None
    migrating: str = ""
    scrambled: frozenset[str] = frozenset()
    spec_fault: str | None = None
    rests_until: float = 0.0
    """Before that PostgreSQL has refused what was written so lately that the next such login would fare no better."""
    accepted_server: str = ""
    """What a person says the admin's Secret may lead to; empty: nothing."""


@dataclass(frozen=True, slots=True)
class PrepareRoles:
    """Make or mend these roles, with passwords that nobody knows where they are made."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give `role`, which nobody uses, a new password, then write its login into the Secret."""

    role: str
    cause: Cause
    nonce: str


@dataclass(frozen=True, slots=True)
class Scramble:
    """Give a role that no session uses any more a password that nobody knows."""

    role: str


Effect = PrepareRoles | HandOver | Scramble


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reason: str
    message: str
    running: int = 0
    confirmed: int = 0
    lagging: tuple[Lagging, ...] = ()
    old_sessions: tuple[Session, ...] = ()
    next_rotation: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The memory and verdict to write, then at most one effect; `nudge`: pods whose files are behind.

    `look_again`: seconds until the next look.
    """

    memory: Memory
    verdict: Verdict
    effect: Effect | None = None
    nudge: tuple[str, ...] = ()
    look_again: float | None = None
