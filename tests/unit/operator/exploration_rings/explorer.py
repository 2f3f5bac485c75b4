"""The world of a key ring, walked: what begins it, what must never be, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator

from slipway_operator.keyrings.model import Key, Memory
from unit.operator.exploration_rings.moves import Decide, looked, moves
from unit.operator.exploration_rings.world import FAR, LIFETIME, NOW, WANTED, Files, Pod, Step, World, aged
from unit.operator.walking import Explored, walk


def beginning(left: int, *, young: bool = False) -> World:
    """Two keys, and all pods have followed for long; `young`: no reserve yet, and a rotation is asked for already."""
    files = Files(frozenset({"k0"} if young else {"k0", "k1"}), "k0")
    long_ago = NOW - FAR
    keys = (
        Key("k0", "EdDSA", "Signing", long_ago, long_ago, long_ago, lifetime=LIFETIME),
        Key("k1", "EdDSA", "Published", long_ago, long_ago, long_ago),
    )
    pods = (Pod("runs", files),) * WANTED
    memory = aged(Memory(keys[:1] if young else keys, "before"), 0)
    nothing: frozenset[str] = frozenset()
    return World(
        files,
        memory,
        Step(),
        pods,
        (("k0", 0),),
        (),
        files.keys,
        2,
        "after" if young else "before",
        nothing,
        nothing,
        left,
    )


def explore(decide: Decide, left: int, *, bound: int, young: bool = False, only: tuple[str, ...] = ()) -> Explored:
    """Every state that can be reached with up to `left` disturbances, or the nearest fault. `only`: those allowed."""

    def allowed(world: World) -> Iterator[tuple[str, World]]:
        for what, after in moves(world, decide):
            if after.left == world.left or not only or what in only:
                yield what, after

    return walk(beginning(left, young=young), allowed, broken, lambda world: is_end(world, decide), bound=bound)


def broken(world: World) -> str | None:
    """What must never be."""
    running = [pod.files for pod in world.pods if pod.stage == "runs"]
    revoked = world.revoke
    promised = {key for key, _ in world.issued} - revoked - world.free
    unseen = {key for key, _ in world.lacked} - world.free
    step, secret = world.step, world.secret
    writes = step.effect if step.at == "told" else None
    living = {key.id for key in world.memory.keys if key.stage in ("Signing", "Published", "Retiring")}
    faults = {
        "a valid token's key is missing in a pod": any(key not in files.keys for key in promised for files in running),
        "a pod signs with a key that a validator may lack": any(files.signing in unseen - revoked for files in running),
        "the Secret signs with a key that it doesn't hold": secret is not None
        and secret.ours
        and secret.signing not in secret.keys,
        "a revoked key comes back": writes is not None and bool(set(writes.keep) & _known_revoked(world)),
        "a revoke passes over a key that all may know": writes is not None
        and writes.signing is None
        and secret is not None
        and bool(living & secret.keys - revoked),
        "new keys take the place of all": writes is not None and not writes.keep and bool(living),
    }
    return next((fault for fault, found in faults.items() if found), None)


def _known_revoked(world: World) -> set[str]:
    return {key.id for key in world.memory.keys if key.stage == "Revoked"}


def is_end(world: World, decide: Decide) -> bool:
    """All is followed, as a fresh look confirms; or a person is told what to do."""
    if world.step.at != "idle" or any(pod.stage != "runs" for pod in world.pods):
        return False
    step = looked(world, decide)
    if step.effect is not None or step.memory != world.memory:
        return False
    if step.reason == "KeysLost":
        return True
    secret = world.secret
    followed = secret is not None and not secret.keys & world.revoke and all(pod.files == secret for pod in world.pods)
    return followed and step.reason == "Stable" and world.memory.handled_nonce == world.nonce
