"""One fresh look at all that a decision about a database login rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from slipway_operator.cluster import JOBS, SECRETS, Api, ForbiddenError, Resource
from slipway_operator.evidence.asking import Asking
from slipway_operator.logins import connecting, postgres
from slipway_operator.logins.address import FILES, Address, LoginData, login_of, reached_at, same
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.keywords import LoginError
from slipway_operator.logins.model import Cause, DatabaseSeen, Observed, SecretSeen, Spec, Trouble
from slipway_operator.logins.spec import parse, unfit
from slipway_operator.logins.status import memory_of
from slipway_operator.migrations.names import PURPOSE_LABEL
from slipway_operator.migrations.observe import MIGRATIONS
from slipway_operator.reconciling import living
from slipway_operator.secret_objects import data_of, seen
from slipway_operator.specs import SpecError

LOGINS = Resource("slipway.dev", "v1alpha1", "databaselogins")
BINDING = "servicebinding.io/postgresql"
MIGRATION_JOBS = "app.kubernetes.io/managed-by=slipway-operator,app.kubernetes.io/component=migrate"
WRITING = ("expand", "contract", "withdraw", "announce")
"""Purposes of Jobs that write to the database; one that plans or backs up only reads."""
SERVER = "slipway.dev/server"
"""Annotation: a person's word that the admin's Secret may lead to that server."""
_CAUSES: dict[str, Cause] = {cause: cause for cause in ("Schedule", "Nonce", "Created", "Healed")}


@dataclass(frozen=True, slots=True)
class Look:
    """What was observed, and what writes need: the resource, the Secret's version and type, and the admin's login.

    A Secret's type never changes: one that was taken over keeps its own.
    """

    observed: Observed
    resource: dict[str, Any]
    version: str | None = None
    type: str = BINDING
    admin: LoginData | None = field(default=None, repr=False)


async def look(api: Api, asking: Asking, namespace: str, name: str) -> Look | None:
    """None when the resource is gone. Raises ApiError; what the database refuses is the observed trouble."""
    resource = await living(api, LOGINS, namespace, name)
    if resource is None:
        return None
    memory = memory_of(resource.get("status") or {})
    try:
        spec = parse(resource)
    except SpecError as error:
        return unseen(resource, str(error))
    secret = await api.get(SECRETS, namespace, spec.secret_name)
    written = data_of(secret) if secret else {}
    consumers = await asking.ask(namespace, spec.secret_name, spec.endpoint)
    try:
        admin = await _admin(api, namespace, spec)
    except TroubleError as fault:
        shown = _seen(secret, resource, None) if secret else None
        observed = Observed(name, spec, memory, shown, consumers, trouble=fault.trouble)
        return Look(observed, resource)
    observed = Observed(
        name,
        spec,
        memory,
        _seen(secret, resource, admin.address) if secret else None,
        consumers,
        migrating=await migrating(api, namespace, admin.address),
        accepted_server=(resource["metadata"].get("annotations") or {}).get(SERVER, ""),
    )
    # The last read before the decision: a session that a pod opened before it told of its new role is seen here.
    observed = await _with_database(observed, pair_of(api, spec, resource), admin, written)
    if secret is None:
        return Look(observed, resource, admin=admin)
    return Look(observed, resource, secret["metadata"]["resourceVersion"], secret.get("type", "Opaque"), admin)


def unseen(resource: dict[str, Any], spec_fault: str | None = None) -> Look:
    """What is known of a resource when nothing else can be seen."""
    memory = memory_of(resource.get("status") or {})
    name = resource["metadata"]["name"]
    return Look(Observed(name, unfit(resource), memory, None, spec_fault=spec_fault), resource)


def pair_of(api: Api, spec: Spec, resource: Mapping[str, Any]) -> postgres.Pair:
    """As this operator may change it, as long as it holds the namespace's Lease."""
    namespace, guard = resource["metadata"]["namespace"], api.guard
    owner, left = f"{namespace}/{resource['metadata']['name']}", partial(guard.left, namespace)
    return postgres.Pair(spec.roles, spec.member_of, owner, spec.connection_limit, guard.term(namespace), left)


async def migrating(api: Api, namespace: str, address: Address) -> str:
    """Name of a Job that may write to this database now; empty for none. Raises ApiError."""
    for job in await api.list(JOBS, namespace, labels=MIGRATION_JOBS):
        purpose = (job["metadata"].get("labels") or {}).get(PURPOSE_LABEL)
        if purpose in WRITING and not _ended(job) and await _same_database(api, namespace, job, address):
            return str(job["metadata"]["name"])
    return ""


async def _admin(api: Api, namespace: str, spec: Spec) -> LoginData:
    try:
        secret = await api.get(SECRETS, namespace, spec.admin_secret)
    except ForbiddenError:
        text = f"The operator may not read Secret {spec.admin_secret} with the admin's login; allow it to get that one."
        raise TroubleError(Trouble("AdminSecretForbidden", text, lasting=True)) from None
    if secret is None:
        raise TroubleError(Trouble("AdminSecretMissing", f"There is no Secret {spec.admin_secret} to log in with."))
    try:
        admin = login_of(data_of(secret), spec.admin_address)
        return replace(admin, reached_at=reached_at(admin.address.host, namespace, api.namespace))
    except LoginError as error:
        text = f"Secret {spec.admin_secret} holds no login to PostgreSQL: {error}."
        raise TroubleError(Trouble("AdminSecretUnusable", text)) from None


async def _with_database(
    observed: Observed, pair: postgres.Pair, admin: LoginData, written: Mapping[str, bytes]
) -> Observed:
    try:
        found = await postgres.look(admin, pair)
    except TroubleError as fault:
        return replace(observed, trouble=fault.trouble)
    works = await _works(observed, admin, written)
    return replace(observed, database=DatabaseSeen(found.roles, found.sessions, works, found.server))


async def _works(observed: Observed, admin: LoginData, written: Mapping[str, bytes]) -> bool | None:
    """Whether pods could log in with what the Secret holds; asked at the admin's address, by one of both roles only."""
    secret = observed.secret
    if secret is None or not secret.ours or secret.role not in observed.spec.roles:
        return None
    try:
        login = login_of(written)
    except LoginError:
        return False
    return await connecting.logs_in(replace(admin, user=login.user, password=login.password))


async def _same_database(api: Api, namespace: str, job: Mapping[str, Any], address: Address) -> bool:
    """What can't be read is taken for the same: waiting for a Job is safe."""
    owner = _owner(job)
    migration = await api.get(MIGRATIONS, namespace, owner) if owner else None
    name = ((migration or {}).get("spec", {}).get("database") or {}).get("secretName", "")
    try:
        secret = await api.get(SECRETS, namespace, name) if name else None
        return secret is None or same(login_of(data_of(secret)).address, address, namespace)
    except (ForbiddenError, LoginError):
        return True


def _owner(job: Mapping[str, Any]) -> str:
    references = job["metadata"].get("ownerReferences") or ()
    return next((str(one["name"]) for one in references if one["kind"] == "SchemaMigration"), "")


def _ended(job: Mapping[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _seen(secret: Mapping[str, Any], resource: Mapping[str, Any], address: Address | None) -> SecretSeen:
    """`address`: of the admin's Secret; unknown, it is taken for unchanged."""
    marks, data = seen(secret, resource, FILES), data_of(secret)
    try:
        fits = address is None or login_of(data).address == address
    except LoginError:
        fits = False
    return SecretSeen(
        role=data.get("username", b"").decode(errors="replace"),
        ours=marks.ours,
        offered=marks.offered,
        intact=marks.intact,
        address_ok=fits,
        cause=_CAUSES.get(marks.cause, "Schedule"),
        nonce=marks.nonce,
    )
