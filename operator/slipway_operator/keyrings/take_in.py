"""What the Secret and the pods show, taken into the memory: the stages of keys, and their clocks."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from math import inf

from slipway_operator.evidence.consumers import Following, Report, following
from slipway_operator.keyrings.model import Key, Memory, Observed, SecretSeen, Spec
from slipway_operator.rotations import Rotation, begun, closed

MOST_KEYS = 200
"""What a status holds; Revoked ones that are no longer wished for go first."""


@dataclass(frozen=True, slots=True)
class Situation:
    """An observation, with what it shows taken into `memory`; `now` in seconds since the epoch."""

    observed: Observed
    memory: Memory
    now: float

    @property
    def spec(self) -> Spec:
        return self.observed.spec

    @property
    def signing(self) -> Key | None:
        return next((key for key in self.memory.keys if key.stage == "Signing"), None)

    @property
    def living(self) -> tuple[Key, ...]:
        return tuple(key for key in self.memory.keys if key.stage != "Revoked")

    @property
    def revoked(self) -> frozenset[str]:
        return frozenset(key.id for key in self.memory.keys if key.stage == "Revoked")

    def heir(self, held: Container[str]) -> str | None:
        """Which reserve signs when the key that does has to go at once: the one that most pods and validators know."""
        heard = [report for report in self.observed.consumers.reports if not report.fault]

        def order(key: Key) -> tuple[float | bool | str, ...]:
            unwanted = key.algorithm != self.spec.algorithm
            if ripe(key, self.spec, self.now):
                return False, 0, 0.0, 0.0, unwanted, key.id
            lack = sum(key.id not in report.keys for report in heard)
            return True, lack, key.since, key.created, unwanted, key.id

        return next((key.id for key in sorted(self.reserves, key=order) if key.id in held), None)

    @property
    def reserves(self) -> tuple[Key, ...]:
        """Published keys, those of the wanted algorithm first, and among these the longest known."""
        published = [key for key in self.memory.keys if key.stage == "Published"]
        return tuple(sorted(published, key=lambda key: (key.algorithm != self.spec.algorithm, key.created, key.id)))

    def holds(self, key: Key) -> Following:
        return follows(self.observed, key, self.now)

    @property
    def lifetime(self) -> float:
        return lifetime(self.observed)


def situation(observed: Observed, now: float) -> Situation:
    memory, secret = observed.memory, observed.secret
    if secret is not None and secret.ours and secret.intact and not lacking(memory, observed, now):
        memory = _staged(_mended(memory, now) if memory.broken else memory, secret, now)
    else:
        memory = replace(_unseen(memory, observed, now), broken=bool(memory.keys))
    if observed.anew:
        memory = _anew(memory, observed.spec, now)
    if observed.spec.suspend:
        # A wish that isn't followed changes no stage: the Secret and the pods have what it would take away.
        return Situation(observed, _clocked(memory, observed, now), now)
    memory = _clocked(_revoked(memory, observed.spec, now), observed, now)
    return Situation(observed, _outgrown(memory, observed.spec, now), now)


def _unseen(memory: Memory, observed: Observed, now: float) -> Memory:
    """With keys that the operator wrote, and a hand was faster than its next look: they are no foreign ones."""
    secret, known = observed.secret, {key.id for key in memory.keys}
    if secret is None or not secret.ours or not known:
        return memory
    own = [key for key in secret.keys if key.id in observed.restorable - known]
    return replace(memory, keys=(*memory.keys, *(Key(key.id, key.algorithm, "Published", now, now) for key in own)))


def ripe(key: Key, spec: Spec, now: float) -> bool:
    """Whether every pod holds this reserve, and every validator had time to fetch it."""
    return key.confirmed is not None and settled(key, spec) < key.confirmed <= now - spec.validator_cache


def _outgrown(memory: Memory, spec: Spec, now: float) -> Memory:
    """A reserve whose algorithm isn't wanted leaves once another may sign: if it ever did itself, by the clock."""
    signs = any(key.stage == "Signing" for key in memory.keys)
    published = [key for key in memory.keys if key.stage == "Published"]
    if not signs or not any(key.algorithm == spec.algorithm and ripe(key, spec, now) for key in published):
        return memory

    def outgrown(key: Key) -> Key:
        goes = key.stage == "Published" and key.algorithm != spec.algorithm and key.retire_after is not None
        return replace(key, stage="Retiring", since=now, confirmed=None, retire_after=None) if goes else key

    return replace(memory, keys=tuple(outgrown(key) for key in memory.keys))


def _mended(memory: Memory, now: float) -> Memory:
    """Kubelets had nothing to refresh files from: what waits for pods that start with old ones waits anew."""
    keys = tuple(
        replace(key, since=now, confirmed=None, retire_after=key.retire_after if key.stage == "Published" else None)
        if key.stage in ("Published", "Retiring")
        else key
        for key in memory.keys
    )
    return replace(memory, keys=keys, broken=False)


def _anew(memory: Memory, spec: Spec, now: float) -> Memory:
    """Times of another clock tell of no wait how much of it is over, and some are yet to come by this one."""

    def begun(key: Key) -> Key:
        end = key.retire_after
        ends = None if end is None else max(end, now + spec.propagation + key.lifetime + spec.leeway)
        confirmed = None if key.confirmed is None else min(key.confirmed, now)
        return replace(key, retire_after=ends, since=min(key.since, now), confirmed=confirmed)

    found = _mended(replace(memory, keys=tuple(begun(key) for key in memory.keys)), now)
    return replace(found, broken=memory.broken)


def lacking(memory: Memory, observed: Observed, now: float) -> tuple[str, ...]:
    """Ids of keys that must be in the Secret and aren't. Those that only the operator itself leaves out don't count.

    A Secret that was put back from a backup is whole by its digest, and lacks what was made since.
    """
    held = {key.id for key in observed.secret.keys} if observed.secret else set()
    gone = (key for key in memory.keys if key.id not in held | observed.spec.revoke)
    return tuple(key.id for key in gone if needed(key, observed, now))


def needed(key: Key, observed: Observed, now: float) -> bool:
    """Whether valid tokens need it. A reserve has none, unless somebody's hand or a pod made it sign."""
    used = key.id in _used(observed)
    match key.stage:
        case "Signing":
            return True
        case "Published":
            return used or key.retire_after is not None
        case "Retiring":
            # By another clock than ours its time may have been over.
            return used or key.retire_after is None or (key.retire_after > now and not observed.anew)
        case _:
            return False


def _used(observed: Observed) -> frozenset[str]:
    """Ids that tokens may be made with just now, whatever the operator wants."""
    secret = observed.secret
    told = {report.signing for report in observed.consumers.reports}
    return frozenset(told | {secret.signing} if secret is not None and secret.ours else told) - {""}


def follows(observed: Observed, key: Key, now: float) -> Following:
    """How far the pods hold a key, or sign with it if that is its stage. By Time: whether they had time for it."""
    if observed.spec.endpoint is None:
        unseen = observed.consumers.wanted > 0 or not observed.consumers.refers
        return Following(nobody=unseen or now < key.since + observed.spec.propagation)

    def objection(report: Report) -> str:
        if key.stage == "Revoked":
            return "HoldsRevoked" if key.id in report.keys else ""
        if key.id not in report.keys:
            return "KeyMissing"
        return "SignsWithOther" if key.stage == "Signing" and report.signing != key.id else ""

    return following(observed.consumers, objection)


def lifetime(observed: Observed) -> float:
    """Seconds that a token may live: what was wished for, or what a pod tells if that is longer."""
    return max((observed.spec.token_lifetime, *(report.token_lifetime for report in observed.consumers.reports)))


def _staged(memory: Memory, secret: SecretSeen, now: float) -> Memory:
    known = {key.id: key for key in memory.keys}
    first = not any(key.stage != "Revoked" for key in memory.keys)
    created = first and secret.cause == "Created" and not memory.history

    def staged(identity: str, algorithm: str) -> Key:
        key = known.get(identity)
        if key is not None and key.stage == "Revoked":
            return key
        if identity == secret.signing:
            if key is not None and key.stage == "Signing":
                return key
            begun_now = key or Key(identity, algorithm, "Signing", now, now)  # type: ignore[arg-type]
            return replace(begun_now, stage="Signing", since=now, confirmed=None, retire_after=None)
        if key is None:
            # Nothing tells whether tokens were made with it, unless this very Secret is the first.
            stage = "Retiring" if first and not created else "Published"
            return Key(identity, algorithm, stage, now, now)  # type: ignore[arg-type]
        return replace(key, stage="Retiring", since=now, confirmed=None) if key.stage == "Signing" else key

    kept = tuple(staged(key.id, key.algorithm) for key in secret.keys)
    held = {key.id for key in secret.keys}
    gone = tuple(key for key in memory.keys if key.stage == "Revoked" and key.id not in held)
    return Memory((*kept, *gone), secret.nonce, _recorded(memory, secret, now), broken=False)


def _recorded(memory: Memory, secret: SecretSeen, now: float) -> tuple[Rotation, ...]:
    """The history, with the rotation that this Secret shows; one that it overtook is at its end."""
    former = next((key.id for key in memory.keys if key.stage == "Signing"), "")
    if former == secret.signing:
        return memory.history
    origin = former or (memory.history[0].to if memory.history else "")
    return begun(memory.history, Rotation(secret.signing, now, secret.cause, origin))


def _revoked(memory: Memory, spec: Spec, now: float) -> Memory:
    known = {key.id for key in memory.keys}
    keys = [
        replace(key, stage="Revoked", since=now, confirmed=None, retire_after=None)
        if key.id in spec.revoke and key.stage != "Revoked"
        else key
        for key in memory.keys
    ]
    keys += [Key(each, spec.algorithm, "Revoked", now, now) for each in sorted(spec.revoke - known)]
    excess = len(keys) - MOST_KEYS
    old = sorted(
        (key for key in keys if key.stage == "Revoked" and key.id not in spec.revoke), key=lambda key: key.since
    )
    dropped = {key.id for key in old[: max(0, excess)]}
    return replace(memory, keys=tuple(key for key in keys if key.id not in dropped))


def _clocked(memory: Memory, observed: Observed, now: float) -> Memory:
    keys = tuple(_lasting(_confirmed(key, observed, now), observed) for key in memory.keys)
    signing = next((key for key in keys if key.stage == "Signing"), None)
    keys = tuple(_reused(key, signing, observed, now) for key in keys)
    if signing is not None:
        keys = tuple(_retiring(key, signing, observed, now) for key in keys)
    history = memory.history
    if signing is not None and signing.confirmed is not None:
        history = closed(history, now, "Unverified" if observed.spec.endpoint is None else "Confirmed")
    return replace(memory, keys=keys, history=history[: max(1, observed.spec.history_limit)])


def _confirmed(key: Key, observed: Observed, now: float) -> Key:
    """Pods that only start aren't asked, and may have old files until `settled`: what was seen before proves little."""
    if key.stage == "Retiring":
        return key
    seen = follows(observed, key, now)
    if seen.opposed:
        return replace(key, confirmed=None)
    restamped = key.stage != "Revoked" and key.confirmed is not None
    early = key.confirmed is None or (restamped and key.confirmed <= settled(key, observed.spec) < now)
    return replace(key, confirmed=now) if seen.all and early else key


def _lasting(key: Key, observed: Observed) -> Key:
    """A setting that makes tokens shorter changes none of those that were made before."""
    signs = key.stage == "Signing" or (key.stage != "Revoked" and key.id in _used(observed))
    return replace(key, lifetime=max(key.lifetime, lifetime(observed))) if signs else key


def _reused(key: Key, signing: Key | None, observed: Observed, now: float) -> Key:
    """A reserve, or an old key, that somebody's hand or a pod lets sign: its tokens have to live, too."""
    used, end = key.id in _used(observed), key.retire_after
    match key.stage:
        # One that did so once may sign in each pod that can't be asked.
        case "Published" if used or (end is not None and not _disused(key, observed)):
            # By then no pod can start any more with files in which it signs.
            ends = now + observed.spec.propagation + key.lifetime + observed.spec.leeway
            return replace(key, retire_after=max(end or 0.0, ends))
        case "Published" if end is not None and max(end, _last(key, signing, observed.spec)) <= now:
            return replace(key, retire_after=None)
        case "Retiring" if used and observed.secret is not None and observed.secret.signing == key.id:
            return replace(key, since=now, retire_after=None)  # a pod may load that yet
        case "Retiring" if used:
            return replace(key, retire_after=None)
        case _:
            return key


def _disused(key: Key, observed: Observed) -> bool:
    """Whether every pod tells that it signs with another. By Time nobody tells, and the clock is all there is."""
    if observed.spec.endpoint is None:
        return observed.consumers.refers
    return following(observed.consumers, lambda report: "SignsWithOther" if report.signing == key.id else "").all


def _last(key: Key, signing: Key | None, spec: Spec) -> float:
    """When tokens have expired that were made with it before every pod was seen to sign with another."""
    if signing is None:
        return -inf
    return inf if signing.confirmed is None else signing.confirmed + key.lifetime + spec.leeway


def _retiring(key: Key, signing: Key, observed: Observed, now: float) -> Key:
    """Its clock starts when every pod signs with another, and none can start any more with files from before."""
    if key.stage != "Retiring":
        return key
    seen = follows(observed, signing, now)
    if seen.opposed:
        return replace(key, retire_after=None)
    if not seen.all or now <= max(settled(signing, observed.spec), settled(key, observed.spec)):
        return key
    longest = max(key.lifetime, lifetime(observed))
    ends = (now if key.retire_after is None else signing.confirmed or now) + longest + observed.spec.leeway
    return replace(key, retire_after=max(key.retire_after or 0.0, ends))


def settled(key: Key, spec: Spec) -> float:
    """After it, no pod can start with files from before this stage of a key began."""
    return key.since + spec.propagation
