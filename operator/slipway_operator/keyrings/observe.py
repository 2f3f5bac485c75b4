"""One fresh look at all that a decision about a key ring rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_operator.cluster import SECRETS, Api, Resource
from slipway_operator.evidence.asking import Asking
from slipway_operator.keyrings.material import KEYS_FILE, SIGNING_FILE, Material, understand
from slipway_operator.keyrings.model import Observed, SecretSeen
from slipway_operator.keyrings.spec import parse, unfit
from slipway_operator.keyrings.status import memory_of
from slipway_operator.reconciling import living
from slipway_operator.secret_objects import data_of, seen
from slipway_operator.specs import SpecError

KEY_RINGS = Resource("slipway.dev", "v1alpha1", "keyrings")
_CAUSES = ("Schedule", "Nonce", "Revoke", "Created", "Healed")

Jwk = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What was observed, and what writes need: the resource, the Secret's version and type, and private keys by id.

    A Secret's type never changes: one that was taken over keeps its own. `whole`: else only the resource was looked at.
    """

    observed: Observed
    resource: dict[str, Any]
    version: str | None = None
    type: str = "Opaque"
    keys: Mapping[str, Jwk] = field(default_factory=dict, repr=False)
    whole: bool = True


async def look(api: Api, asking: Asking, namespace: str, name: str, kept: Mapping[str, Jwk]) -> Look | None:
    """None when the resource is gone. `kept`: keys of the last whole Secret, for healing it.

    Raises ApiError: what can't be reached is never taken for absent.
    """
    resource = await living(api, KEY_RINGS, namespace, name)
    if resource is None:
        return None
    memory = memory_of(resource.get("status") or {})
    try:
        spec = parse(resource)
    except SpecError as error:
        return unseen(resource, str(error))
    secret = await api.get(SECRETS, namespace, spec.secret_name)
    material = understand(data_of(secret)) if secret else Material()
    # The last read before the decision, because it is what each step rests on.
    consumers = await asking.ask(namespace, spec.secret_name, spec.endpoint)
    observed = Observed(
        name,
        spec,
        memory,
        _seen(secret, resource, material) if secret else None,
        consumers,
        frozenset(kept),
    )
    version = secret["metadata"]["resourceVersion"] if secret else None
    # In a Secret of ours that was changed, an id may stand for another key: what was whole before goes first.
    changed = observed.secret is not None and observed.secret.ours and not observed.secret.intact
    keys = {**material.keys, **kept} if changed else {**kept, **material.keys}
    return Look(observed, resource, version, secret.get("type", "Opaque") if secret else "Opaque", keys)


def unseen(resource: dict[str, Any], spec_fault: str | None = None) -> Look:
    """What is known of a resource when nothing else can be seen."""
    memory = memory_of(resource.get("status") or {})
    name = resource["metadata"]["name"]
    return Look(Observed(name, unfit(resource), memory, None, spec_fault=spec_fault), resource, whole=False)


def _seen(secret: Mapping[str, Any], resource: Mapping[str, Any], material: Material) -> SecretSeen:
    marks = seen(secret, resource, (KEYS_FILE, SIGNING_FILE))
    return SecretSeen(
        keys=material.held,
        signing=material.signing,
        ours=marks.ours,
        offered=marks.offered,
        intact=marks.intact and bool(material.signing),
        owned=marks.owned,
        cause=marks.cause if marks.cause in _CAUSES else "Schedule",  # type: ignore[arg-type]
        nonce=marks.nonce,
        unfit=material.unfit,
    )
