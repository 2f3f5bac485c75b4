"""A KeyRing's spec, understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_operator.evidence.consumers import Endpoint
from slipway_operator.evidence.spec import endpoint_of
from slipway_operator.keyrings.model import Spec
from slipway_operator.specs import SpecError, seconds_of


def parse(resource: Mapping[str, Any]) -> Spec:
    """Read the spec of what the API server gave. Raises SpecError; the server's own checks leave little to refuse."""
    try:
        return _parse(resource["spec"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"The spec doesn't have the form of its definition (at {error}); apply the CRDs.") from error


def unfit(resource: Mapping[str, Any]) -> Spec:
    """Stands in for a spec that `parse` refuses."""
    return Spec(str((resource.get("spec") or {}).get("secretName", "")), None)


def _parse(spec: Mapping[str, Any]) -> Spec:
    return Spec(
        secret_name=spec["secretName"],
        endpoint=_endpoint(spec),
        algorithm=spec.get("algorithm", "EdDSA"),
        rotate_every=seconds_of(spec.get("rotateEvery", "720h")),
        token_lifetime=seconds_of(spec.get("tokenLifetime", "15m")),
        leeway=seconds_of(spec.get("leeway", "1m")),
        validator_cache=seconds_of(spec.get("validatorCache", "10m")),
        propagation=seconds_of(spec.get("propagation", "2m")),
        nonce=spec.get("rotateNonce", ""),
        revoke=frozenset(spec.get("revoke") or ()),
        retain=spec.get("deletionPolicy", "Retain") == "Retain",
        history_limit=spec.get("historyLimit", 10),
        suspend=bool(spec.get("suspend")),
    )


def _endpoint(spec: Mapping[str, Any]) -> Endpoint | None:
    if spec.get("evidence", "Endpoint") == "Time":
        return None
    return endpoint_of(spec.get("consumers") or {})
