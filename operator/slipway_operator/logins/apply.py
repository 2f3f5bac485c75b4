"""Writes a decision: the status, then one change in PostgreSQL, which the Secret follows where a role takes over.

A hand-over first gives the idle role its password, then writes the Secret with the version that was read. A crash
between the two leaves a password that nobody knows on a role that nobody uses; the next look hands over anew.
"""

from __future__ import annotations

import asyncio
import logging

from slipway_operator.cluster import Api
from slipway_operator.exclusion import Exclusion
from slipway_operator.logins import postgres, scram
from slipway_operator.logins.address import LoginData, files
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.model import Decision, Effect, HandOver, PrepareRoles, Scramble, Trouble
from slipway_operator.logins.observe import LOGINS, Look, migrating, pair_of
from slipway_operator.logins.status import document
from slipway_operator.logins.take_in import moved, placed
from slipway_operator.rotations import ended
from slipway_operator.secret_objects import manifest
from slipway_operator.secret_store import store
from slipway_operator.statuses import write_status
from slipway_operator.telemetry import ROTATIONS

log = logging.getLogger(__name__)

KIND = "DatabaseLogin"


async def write(api: Api, look: Look, decision: Decision, now: float) -> bool:
    """The status. False when somebody changed the resource since it was read: nothing else may follow."""
    resource, verdict = look.resource, decision.verdict
    wanted = document(decision, resource.get("status") or {}, resource["metadata"]["generation"], now)
    said = (verdict.state, verdict.reason, verdict.message)
    if not await write_status(api, LOGINS, resource, wanted, said, now):
        return False
    for one in ended(look.observed.memory.history, decision.memory.history):
        ROTATIONS.labels(KIND, one.cause, one.result).inc()
    return True


async def effect(api: Api, exclusion: Exclusion, look: Look, wish: Effect) -> bool:
    """What the decision does. False when it may not be done any more: then the next look decides anew.

    Raises TroubleError and ApiError.
    """
    namespace = look.resource["metadata"]["namespace"]
    if look.admin is None:
        return False
    async with exclusion.held(namespace):
        if await migrating(api, namespace, look.admin.address):
            return False
        return await _done(api, look, look.admin, wish)


def terms(look: Look) -> list[int]:
    """That the roles know of."""
    database = look.observed.database
    return [role.term for role in database.roles if role.term is not None] if database else []


async def fence(api: Api, look: Look, *, fenced: bool) -> bool:
    """Whether the roles knew of another term than this operator's: what was seen, another could have changed since.

    After it none of an earlier term can, and the next look may be relied on. `fenced`: this very process has seen them
    with its own before. Raises TroubleError and ApiError.
    """
    namespace = look.resource["metadata"]["namespace"]
    known, own = terms(look), api.guard.term(namespace)
    if look.admin is None or look.observed.spec.suspend or all(term == own for term in known):
        return False
    if moved(look.observed, placed(look.observed)):
        return False  # nothing is changed there until a person says so
    if max(known) > own and fenced:
        raise TroubleError(_elsewhere(look, max(known), own))
    if max(known) > own:
        # The Lease was deleted, and counts anew; or it is another's by now, which then can't be renewed.
        api.guard.outnumber(namespace, max(known))
        return True
    await postgres.fence(look.admin, pair_of(api, look.observed.spec, look.resource))
    return True


def _elsewhere(look: Look, term: int, own: int) -> Trouble:
    """While a Lease is held nobody comes after its holder, so whoever does goes by another Lease."""
    calm = " ".join(f"COMMENT ON ROLE {postgres.quoted(role)} IS NULL;" for role in look.observed.spec.roles)
    text = (
        f"Another operator looks after these roles by the same name (term {term}; here it is {own}), and not by this "
        "cluster's Lease: is this cluster a copy of one, or that one of this? Nothing is changed here. End that "
        f"DatabaseLogin, or give this one other roles; then run: {calm}"
    )
    return Trouble("OperatorElsewhere", text, lasting=True)


async def _done(api: Api, look: Look, admin: LoginData, wish: Effect) -> bool:
    pair = pair_of(api, look.observed.spec, look.resource)
    match wish:
        case PrepareRoles(roles):
            await postgres.prepare(admin, pair, roles)
            log.info("Roles %s are as they should be.", ", ".join(roles))
            return True
        case Scramble(role):
            await postgres.set_password(admin, pair, role, await asyncio.to_thread(scram.unknown))
            log.info("Role %s has a password that nobody knows.", role)
            return True
        case HandOver():
            return await _handed_over(api, look, admin, pair, wish)


async def _handed_over(api: Api, look: Look, admin: LoginData, pair: postgres.Pair, wish: HandOver) -> bool:
    password = scram.new_password()
    verifier = await asyncio.to_thread(scram.verifier, password)
    await postgres.set_password(admin, pair, wish.role, verifier)
    name = look.observed.spec.secret_name
    body = manifest(
        look.resource,
        name,
        files(admin.address, wish.role, password),
        type_=look.type,
        cause=wish.cause,
        nonce=wish.nonce,
        owned=True,
        version=look.version,
    )
    if not await store(api, body):
        return False
    log.info("Secret %s has the login of %s.", name, wish.role)
    return True
