"""ConfigMaps: with a plan's SQL, and with the script for plain Alembic."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from slipway_operator.migrations.jobs import owner_reference
from slipway_operator.migrations.names import OWNER_LABEL, owner_label

PLAIN_KEY = "plan.sql"
COMPRESSED_KEY = "plan.sql.gz"
PLAIN_LIMIT = 256 * 1024
COMPRESSED_LIMIT = 640 * 1024
"""Bytes; in base64 it must stay below the 1 MiB of a ConfigMap."""


def key_of(text: str) -> str:
    return PLAIN_KEY if len(text.encode()) <= PLAIN_LIMIT else COMPRESSED_KEY


def config_map(resource: Mapping[str, Any], name: str, text: str) -> dict[str, Any]:
    """As it is applied. Of SQL that doesn't fit even compressed, the beginning."""
    body = {"data": {PLAIN_KEY: text}}
    if key_of(text) == COMPRESSED_KEY:
        body = {"binaryData": {COMPRESSED_KEY: b64encode(_compressed(text)).decode()}}
    return {**_head(resource, name), **body}


def script_config_map(resource: Mapping[str, Any], name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The script that plans and runs plain Alembic: text by name of file."""
    return {**_head(resource, name), "data": dict(files)}


def _compressed(text: str) -> bytes:
    data = text.encode()
    packed = gzip.compress(data, mtime=0)
    while len(packed) > COMPRESSED_LIMIT:
        data = data[: len(data) // 2].decode(errors="ignore").encode()
        packed = gzip.compress(data + b"\n-- The rest is too long to be shown here.\n", mtime=0)
    return packed


def _head(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    of = resource["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": of["namespace"],
            "labels": {
                "app.kubernetes.io/managed-by": "slipway-operator",
                "app.kubernetes.io/component": "migrate",
                OWNER_LABEL: owner_label(of["name"]),
            },
            "ownerReferences": [owner_reference(resource)],
        },
    }
