"""A DatabaseLogin's spec, understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.evidence.consumers import Endpoint
from slipway_operator.evidence.spec import endpoint_of
from slipway_operator.logins.model import Spec
from slipway_operator.specs import SpecError, seconds_of

SHORTEST_ROTATION = 300.0
"""Seconds: pods may take two minutes to load each login, and old sessions must end in between."""
TOO_STRONG = frozenset(
    {"postgres", "public", "none", "rds_superuser", "cloudsqlsuperuser", "azure_pg_admin", "alloydbsuperuser"}
)
"""Names that are superusers, or as good as, where PostgreSQL is managed; and two that name no role."""


def parse(resource: Mapping[str, Any]) -> Spec:
    """Read the spec of what the API server gave. Raises SpecError; the server's own checks leave little to refuse."""
    try:
        spec = _parse(resource["spec"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"The spec doesn't have the form of its definition (at {error}); apply the CRDs.") from error
    _check(spec)
    return spec


def unfit(resource: Mapping[str, Any]) -> Spec:
    """Stands in for a spec that `parse` refuses."""
    return Spec("", "", ("", ""), str((resource.get("spec") or {}).get("secretName", "")), Endpoint())


def _parse(spec: Mapping[str, Any]) -> Spec:
    first, second = spec["roles"]
    return Spec(
        admin_secret=spec["admin"]["secretName"],
        admin_address=spec["admin"].get("address", ""),
        member_of=spec["memberOf"],
        roles=(first, second),
        secret_name=spec["secretName"],
        endpoint=endpoint_of(spec.get("consumers") or {}),
        rotate_every=seconds_of(spec.get("rotateEvery", "720h")),
        connection_limit=spec.get("connectionLimit"),
        nonce=spec.get("rotateNonce", ""),
        history_limit=spec.get("historyLimit", 10),
        suspend=bool(spec.get("suspend")),
    )


def _check(spec: Spec) -> None:
    """Raises SpecError. The definition refuses the same; one that is older or was altered may not."""
    if spec.member_of.startswith("pg_") or spec.member_of in TOO_STRONG:
        raise SpecError(
            f"memberOf {spec.member_of} has more rights than a service needs; name one of its own, without superuser."
        )
    if spec.roles[0] == spec.roles[1]:
        raise SpecError("roles must be two different names, because one logs in while the other's password changes.")
    if spec.member_of in spec.roles:
        raise SpecError("memberOf must not be one of roles, because a role can't be a member of itself.")
    if reserved := [role for role in spec.roles if role.startswith("pg_") or role in TOO_STRONG]:
        raise SpecError(f"roles has {reserved[0]}, which isn't ours to alter; name two roles for this login alone.")
    if spec.secret_name == spec.admin_secret:
        raise SpecError("secretName must differ from admin.secretName, or the operator's own login is overwritten.")
    if spec.rotate_every < SHORTEST_ROTATION:
        raise SpecError(f"rotateEvery {spec.rotate_every:.0f}s is too short; write 5m or more.")
