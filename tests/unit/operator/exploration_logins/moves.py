"""What may happen next in the world of a database login."""

from __future__ import annotations

from collections.abc import Iterator

from slipway_operator.logins.model import HandOver, PrepareRoles, Scramble
from unit.operator.exploration_logins.world import ROLES, Login, Pod, Step, World, look

Move = tuple[str, World]


def moves(world: World) -> Iterator[Move]:
    for what, after in (*_operator(world), *_pods(world), *_ends(world)):
        yield what, canonical(after)
    if world.left:
        for what, after in _disturbances(world._replace(left=world.left - 1)):
            yield what, canonical(after)


def canonical(world: World) -> World:
    """Passwords by the order in which they are found, so that worlds that only differ in their names are one."""
    names: dict[int, int] = {0: 0}

    def name(password: int) -> int:
        return names.setdefault(password, len(names))

    first, second = (None if one is None else name(one) for one in world.roles)
    secret, before = (one and one._replace(password=name(one.password)) for one in (world.secret, world.before))
    step = world.step._replace(password=name(world.step.password))
    known = set(names)
    pods = tuple(
        # What opens nothing and is in no Secret is as good as any other such password.
        pod._replace(holds=(pod.holds[0], names[pod.holds[1]] if pod.holds[1] in known else -1))
        for pod in world.pods
    )
    return world._replace(
        roles=(first, second), secret=secret, before=before, step=step, pods=tuple(sorted(pods, key=_order))
    )


def _order(pod: Pod) -> tuple[str, tuple[str, int], list[str], bool]:
    return pod.stage, pod.holds, sorted(pod.sessions), pod.deaf


def new(world: World) -> int:
    """A password that nothing has yet."""
    found = [one or 0 for one in world.roles]
    found += [one.password for one in (world.secret, world.before) if one]
    return max([*found, world.step.password, *(pod.holds[1] for pod in world.pods)]) + 1


def _operator(world: World) -> Iterator[Move]:
    match world.step.at:
        case "idle":
            after, _ = look(world)
            if after != world:
                yield "look", after
        case "decided":
            yield "effect", _begun(world)
        case _:
            yield "write the Secret", _written(world)


def _begun(world: World) -> World:
    effect, idle = world.step.effect, Step()
    if world.away or world.migrates:
        return world._replace(step=idle)  # looked for once more, under the lock
    match effect:
        case PrepareRoles(roles):
            made = world
            for role in roles:
                made = made if made.password(role) is not None else made.with_password(role, 0)
            return made._replace(step=idle)
        case Scramble(role):
            after = _changed(world, role, 0)
            return after._replace(step=idle, done=world.done | {role} if after.password(role) == 0 else world.done)
        case HandOver(role):
            password = new(world)
            after = _changed(world, role, password)
            step = Step("between", effect, password, world.step.fresh) if after.password(role) else idle
            return after._replace(step=step, done=world.done - {role})
    raise AssertionError(effect)


def _changed(world: World, role: str, password: int) -> World:
    """ALTER ROLE, which is the moment that counts: whoever uses the role is locked out."""
    if world.password(role) is None:
        return world
    fault = f"the password of {role} changed while a pod uses it" if world.uses(role) else world.fault
    return world.with_password(role, password)._replace(fault=fault)


def _written(world: World) -> World:
    effect, secret = world.step.effect, world.secret
    assert isinstance(effect, HandOver)
    if not world.step.fresh:
        return world._replace(step=Step())
    written = Login(effect.role, world.step.password, written=True, nonce=effect.nonce, cause=effect.cause)
    before = secret if secret and secret.written else world.before
    return world._replace(step=Step(), secret=written, before=before, meddled=False)


def _pods(world: World) -> Iterator[Move]:
    secret = world.secret
    loads = (secret.role, secret.password) if secret is not None and secret.role else None
    for number, pod in enumerate(world.pods):
        for what, after in _pod(world, pod, loads):
            yield what, world._replace(pods=(*world.pods[:number], after, *world.pods[number + 1 :]))


def _pod(world: World, pod: Pod, loads: tuple[str, int] | None) -> Iterator[tuple[str, Pod]]:
    role, password = pod.holds
    opens = not world.away and 0 < password == world.password(role)
    if loads and pod.stage == "absent":
        yield "a pod starts", Pod("starting", loads)
    elif loads and loads != pod.holds:
        yield "a pod loads the Secret", pod._replace(holds=loads)
    # One that loaded what a person wrote, and is up between a look and its act, is heard of too late.
    if pod.stage == "starting" and opens and (world.step.at == "idle" or not world.meddled):
        yield "a pod is up", pod._replace(stage="running")
    if pod.stage == "running" and opens and role not in pod.sessions:
        yield "a session begins", pod._replace(sessions=pod.sessions | {role})
    for each in sorted(pod.sessions):
        yield "a session ends", pod._replace(sessions=pod.sessions - {each})
    if pod.deaf:
        yield "a pod can be asked again", pod._replace(deaf=False)


def _ends(world: World) -> Iterator[Move]:
    """What comes to an end by itself, or because a person does what Stalled asks for."""
    if world.away:
        yield "the database is back", world._replace(away=False)
    if world.migrates:
        yield "the migration ends", world._replace(migrates=False)
    if world.step.at == "idle":
        after, decision = look(world)
        if decision.verdict.reason == "BothRolesInUse":
            gone = tuple(Pod() if pod.holds[0] == ROLES[0] else pod for pod in after.pods)
            yield "a person deletes the pods of a role", after._replace(pods=gone)
        if "is to be deleted" in decision.verdict.message:
            gone = tuple(Pod() if pod.stage == "starting" else pod for pod in after.pods)
            yield "a person deletes the pods that don't start", after._replace(pods=gone)


def _disturbances(world: World) -> Iterator[Move]:
    if world.step.at != "idle" or world.done:
        yield "kill -9", world._replace(step=Step(), done=frozenset())
    if world.nonce == world.kept.nonce:
        yield "another nonce", world._replace(nonce="1" if world.nonce != "1" else "2")
    if world.kept.role and not world.kept.due:
        yield "its time has come", world._replace(kept=world.kept._replace(due=True))
    if not world.away:
        yield "the database is away", world._replace(away=True)
    if not world.migrates and world.step.at != "between":  # the lock
        yield "a migration begins", world._replace(migrates=True)
    for number, pod in enumerate(world.pods):
        if pod.stage == "running" and not pod.deaf:
            others = (*world.pods[:number], *world.pods[number + 1 :])
            yield "a pod can't be asked", world._replace(pods=(pod._replace(deaf=True), *others))
            yield "a pod dies", world._replace(pods=(Pod(), *others))
    if world.step.at == "idle":
        yield "nothing that refers is seen", look(world, blind=True)[0]
    yield from _by_hand(world)


def _by_hand(world: World) -> Iterator[Move]:
    secret, stale = world.secret, world.step._replace(fresh=False)
    meddled = world._replace(meddled=True)
    if secret is not None:
        yield "the Secret is deleted", meddled._replace(secret=None, step=stale)
        yield "the Secret is emptied", meddled._replace(secret=Login("", 0, written=False), step=stale)
    if world.step.at != "idle":
        return  # a login that works, put in place between a look and its act, is seen too late
    if world.before is not None and world.before != secret:
        yield "the Secret is put back from a backup", meddled._replace(secret=world.before)
    for role in ROLES:
        if world.password(role) is not None and not world.uses(role):
            password = new(world)
            by_hand = meddled._replace(secret=Login(role, password, written=False))
            yield f"{role} takes over by hand", by_hand.with_password(role, password)
        if world.password(role) is not None:
            # PostgreSQL lists a session without its role then.
            pods = tuple(pod._replace(sessions=pod.sessions - {role}) for pod in world.pods)
            yield f"{role} is dropped", meddled._replace(pods=pods).with_password(role, None)
