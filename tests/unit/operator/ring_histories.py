"""A key ring over hours: pods, an operator that is killed, people who ask, and people who break things. In seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.keyrings.model import Decision, HeldKey, Memory, Observed, SecretSeen, Spec, WriteSecret

Decide = Callable[[Observed, float], Decision]
Action = tuple[str, int]
"""What happens, and to which pod, or for how many tens of seconds."""

SPEC = Spec("keys", Endpoint("app=slipway"), token_lifetime=300.0, leeway=30.0, validator_cache=200.0, nonce="0")
PODS = 3
START = 1_000_000.0
SEEN_AGAIN = 8
"""Of the numbers that come with an action, how many take the sight of what uses the Secret away."""


@dataclass(frozen=True)
class Files:
    """A Secret, or what a pod loaded of it. `whole`: as the operator wrote it."""

    keys: frozenset[str]
    signing: str
    effect: WriteSecret
    whole: bool = True


@dataclass
class Pod:
    """`mounted`: when its files were, while it is still in its init containers and nobody asks it."""

    files: Files
    mounted: float | None = None
    deaf: bool = False


@dataclass
class Ring:
    """`clock`: what the operator's is off by. `step`: what it decided, before its writes and between them.

    `issued`, `lacked`: by key, when a token was last made, and when a pod last showed a set without it. `free`: keys
    that a revoke made sign, of which nothing is promised. `blind`: nothing that refers to the Secret is seen, although
    pods use it. `faults`: what must never be.
    """

    decide: Decide
    now: float = START
    clock: float = 0.0
    spec: Spec = SPEC
    memory: Memory = field(default_factory=Memory)
    secret: Files | None = None
    backup: Files | None = None
    kept: frozenset[str] = frozenset()
    pods: list[Pod] = field(default_factory=list)
    step: tuple[Decision, Files | None, bool] | None = None
    reason: str = ""
    made: int = 0
    issued: dict[str, float] = field(default_factory=dict)
    lacked: dict[str, float] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)
    blind: bool = False
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A ring that was just made, and pods that started with it."""
        self.settle()
        assert self.secret is not None
        self.pods = [Pod(self.secret) for _ in range(PODS)]
        self.settle()

    def act(self, action: Action) -> None:
        what, number = action
        getattr(self, f"do_{what}")(number)
        self.judge()

    def do_wait(self, tens: int) -> None:
        """In small steps, between which pods sign all the time."""
        for _ in range(tens + 1):
            self.now += 10.0
            for pod in self.pods:
                if pod.mounted is not None and self.now - pod.mounted >= SPEC.propagation:
                    pod.files = self.loadable or pod.files
            self.judge()

    def do_look(self, number: int) -> None:
        """Its own next move: a look, the status, the Secret."""
        del number
        if self.step is None:
            decision = self.decide(self.observed(), self.now + self.clock)
            if self.loadable is not None:
                self.kept = self.loadable.keys
            self.step = decision, self.secret, False
            if self.blind:
                self.faults += step_taken(self.memory, self.secret, decision)
            self.reason = decision.verdict.reason
            return
        decision, read, told = self.step
        self.step = None
        if not told:
            self.memory = decision.memory
            self.step = (decision, read, True) if decision.effect is not None else None
        elif decision.effect is not None and self.secret == read:
            self.write(decision.effect)

    def do_crash(self, number: int) -> None:
        del number
        self.step, self.kept = None, frozenset()

    def do_load(self, number: int) -> None:
        self.pods[number % PODS].files = self.loadable or self.pods[number % PODS].files

    def do_replace(self, number: int) -> None:
        if self.loadable is not None:
            self.pods[number % PODS] = Pod(self.loadable, self.now)

    def do_start(self, number: int) -> None:
        self.pods[number % PODS].mounted = None

    def do_deafen(self, number: int) -> None:
        self.pods[number % PODS].deaf = not self.pods[number % PODS].deaf

    def do_blind(self, number: int) -> None:
        self.blind = number < SEEN_AGAIN

    def do_rotate(self, number: int) -> None:
        del number
        self.spec = replace(self.spec, nonce=str(int(self.spec.nonce) + 1))

    def do_revoke(self, number: int) -> None:
        del number
        if self.loadable is not None:
            self.spec = replace(self.spec, revoke=self.spec.revoke | {self.loadable.signing})

    def do_delete(self, number: int) -> None:
        del number
        self.lose()
        self.secret = None

    def do_edit(self, number: int) -> None:
        self.lose()
        if self.secret is not None:
            left = frozenset(sorted(self.secret.keys)[:number])
            self.secret = replace(self.secret, keys=left, whole=False)

    def do_save(self, number: int) -> None:
        del number
        self.backup = self.loadable or self.backup

    def do_restore(self, number: int) -> None:
        del number
        self.secret = self.backup or self.secret

    def do_turn(self, tens: int) -> None:
        self.clock += (tens - 10) * 300.0

    def do_turn_back(self, tens: int) -> None:
        self.clock -= tens * 30.0

    def lose(self) -> None:
        """Of a key that no look has seen sign nothing is promised: a pod that only starts can't tell that it does."""
        seen = {key.id for key in self.memory.keys if key.stage != "Published"}
        if self.secret is not None and self.secret.signing not in seen:
            self.free.add(self.secret.signing)

    @property
    def loadable(self) -> Files | None:
        return self.secret if self.secret is not None and self.secret.whole else None

    def observed(self) -> Observed:
        secret = None
        if self.secret is not None:
            held = tuple(HeldKey(each, "EdDSA") for each in sorted(self.secret.keys))
            effect = self.secret.effect
            secret = SecretSeen(
                held,
                self.secret.signing if self.secret.signing in self.secret.keys else "",
                ours=True,
                offered=False,
                intact=self.secret.whole,
                owned=False,
                cause=effect.cause,
                nonce=effect.nonce,
            )
        reports = tuple(
            Report(str(number), fault="TimedOut")
            if pod.deaf
            else Report(str(number), keys=pod.files.keys, signing=pod.files.signing)
            for number, pod in enumerate(self.pods)
            if pod.mounted is None
        )
        consumers = Consumers(reports, 0 if reports else len(self.pods), refers=True)
        if self.blind:
            consumers = Consumers()
        return Observed("ring", self.spec, self.memory, secret, consumers, self.kept)

    def write(self, effect: WriteSecret) -> None:
        ended = self.now + self.clock
        used = {
            key.id
            for key in self.memory.keys
            if key.stage == "Signing" or (key.stage == "Retiring" and (key.retire_after or ended + 1) > ended)
        }
        known = {key.id for key in self.memory.keys if key.stage == "Revoked"}
        made = [f"k{self.made + number}" for number in range(effect.fresh)]
        self.made += effect.fresh
        keys = frozenset((*effect.keep, *made))
        signing = effect.signing or made[0]
        if signing not in keys:
            self.faults.append(f"the Secret doesn't hold {signing}, which it names")
        if back := known & keys:
            self.faults.append(f"revoked {sorted(back)} come back")
        if used and not effect.keep:
            self.faults.append(f"new keys take the place of {sorted(used)}")
        if effect.cause in ("Revoke", "Created"):
            self.free.add(signing)
        self.secret = Files(keys, signing, effect)

    def judge(self) -> None:
        """Pods that run make tokens all the time, and validators fetch from each all the time: the worst there is."""
        running = [pod.files for pod in self.pods if pod.mounted is None]
        known = frozenset[str]().union(*(files.keys for files in running))
        for files in running:
            for key in known - files.keys:
                self.lacked[key] = self.now
            self.issued[files.signing] = self.now
        excused = self.free | self.spec.revoke
        for key, at in self.issued.items():
            if self.now - at < SPEC.token_lifetime and key not in excused:
                self.faults += [f"{key} is missed in a pod" for files in running if key not in files.keys]
        for files in running:
            at = self.lacked.get(files.signing, 0.0)
            if self.now - at < SPEC.validator_cache and files.signing not in excused:
                self.faults.append(f"a validator may lack {files.signing}")

    def settle(self, most: int = 400) -> None:
        """Nothing is broken any more, people do what the status tells, and pods load. Until the ring rests."""
        self.blind = False
        for pod in self.pods:
            pod.mounted, pod.deaf = None, False
        for _ in range(most):
            for _ in range(3):
                self.act(("look", 0))
            if self.step is None and self.reason == "Stable" and self.memory.handled_nonce == self.spec.nonce:
                return
            if self.reason == "KeysLost":
                self.accept_the_loss()
            if self.reason == "KeysElsewhere":
                signed = {pod.files.signing for pod in self.pods}
                self.spec = replace(self.spec, revoke=self.spec.revoke | signed)
            for number in range(len(self.pods)):
                self.act(("load", number))
            self.do_wait(3)
        self.faults.append(f"no end: {self.reason}")

    def accept_the_loss(self) -> None:
        """The way out that the message names."""
        held = self.secret.keys if self.secret is not None else frozenset[str]()
        lost = {key.id for key in self.memory.keys if key.stage != "Revoked"} - held
        if not lost:
            self.secret = None
        self.spec = replace(self.spec, revoke=self.spec.revoke | lost)


def step_taken(memory: Memory, secret: Files | None, decision: Decision) -> list[str]:
    """What of a decision needs to have seen pods: that a key is confirmed, signs, is retired, or begins to be."""
    before = {key.id: key for key in memory.keys}
    faults = [
        f"{key.id} is confirmed by nothing"
        for key in decision.memory.keys
        if key.confirmed is not None and key.confirmed != getattr(before.get(key.id), "confirmed", None)
    ]
    faults += [
        f"the clock of {key.id} starts by nothing"
        for key in decision.memory.keys
        if key.stage == "Retiring" and key.retire_after and key.retire_after != before[key.id].retire_after
    ]
    if decision.memory.history and decision.memory.history[0].result == "Confirmed" != memory.history[0].result:
        faults.append("a rotation is confirmed by nothing")
    effect = decision.effect
    if effect is None or secret is None or not secret.whole:
        return faults
    revoked = {key.id for key in decision.memory.keys if key.stage == "Revoked"}
    if secret.signing not in revoked and effect.signing != secret.signing:
        faults.append(f"{effect.signing} signs by nothing")
    # Of a backup that was put back, a reserve that the ring has forgotten since is no key of its own any more.
    if dropped := (secret.keys & before.keys()) - revoked - set(effect.keep):
        faults.append(f"{sorted(dropped)} leave by nothing")
    return faults
