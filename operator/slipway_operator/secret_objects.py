"""Secrets that the operator alone writes: how they are marked, and what a mark that doesn't fit tells. Pure.

A Secret is ours by the label that names its owner, and intact while its data have the digest noted with them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from slipway_operator.migrations.names import shortened

TAKE_OVER = "slipway.dev/take-over"
"""Label that its owner sets on a Secret: the resource of that name may take it over."""
DIGEST = "slipway.dev/digest"
CAUSE = "slipway.dev/cause"
NONCE = "slipway.dev/nonce"
MANAGED_BY = ("app.kubernetes.io/managed-by", "slipway-operator")
_LABEL_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Marks:
    """`ours`: made or taken over for this resource; `offered`: its label invites that; `owned`: has it as its owner.

    `intact`: the data are what was written last. `cause` and `nonce`: of that write; empty where there was none.
    """

    ours: bool
    offered: bool
    intact: bool
    owned: bool
    cause: str
    nonce: str


def label_value(name: str) -> str:
    """Of a resource's name, which may be longer than a label's value."""
    return shortened(name, _LABEL_LIMIT)


def owner_label(owner: Mapping[str, Any]) -> tuple[str, str]:
    return f"slipway.dev/{owner['kind'].lower()}", label_value(owner["metadata"]["name"])


def digest(data: Mapping[str, bytes]) -> str:
    """SHA-256 in hex over names and contents. What it is over has far too much entropy to be guessed from it."""
    found = sha256()
    for name in sorted(data):
        found.update(f"{name}\0{len(data[name])}\0".encode())
        found.update(data[name])
    return found.hexdigest()


def manifest(
    owner: Mapping[str, Any],
    name: str,
    data: Mapping[str, bytes],
    *,
    type_: str,
    cause: str,
    nonce: str,
    owned: bool,
    version: str | None,
) -> dict[str, Any]:
    """The whole Secret. `version`: written only if it is still that; None: to be created."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": dict([MANAGED_BY, owner_label(owner)]),
        "annotations": {DIGEST: digest(data), CAUSE: cause, NONCE: nonce},
    }
    if owned:
        metadata["ownerReferences"] = [_reference(owner)]
    if version is not None:
        metadata["resourceVersion"] = version
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": metadata, "data": encoded}


def seen(secret: Mapping[str, Any], owner: Mapping[str, Any], files: Collection[str]) -> Marks:
    """Only `files` count: what somebody else's manager adds stays there and is in nobody's way."""
    metadata = secret["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    mark, name = owner_label(owner)
    own = {name: content for name, content in data_of(secret).items() if name in files}
    uids = {one["uid"] for one in metadata.get("ownerReferences") or ()}
    return Marks(
        ours=labels.get(MANAGED_BY[0]) == MANAGED_BY[1] and labels.get(mark) == name,
        offered=labels.get(TAKE_OVER) == name,
        intact=annotations.get(DIGEST) == digest(own),
        owned=owner["metadata"]["uid"] in uids,
        cause=annotations.get(CAUSE, ""),
        nonce=annotations.get(NONCE, ""),
    )


def data_of(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """Decoded; the API server lets nothing through that isn't base64, so a fault counts as empty."""
    return {name: _decoded(content) for name, content in (secret.get("data") or {}).items()}


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Not as controller: a Secret that is taken over may have one already."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
