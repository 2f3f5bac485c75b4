"""The CustomResourceDefinitions that this operator was built with, and how those in the cluster differ."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import yaml

from slipway_operator import telemetry
from slipway_operator.cluster import Api, ApiError

log = logging.getLogger(__name__)

GROUP, VERSION = "slipway.dev", "v1alpha1"
OPENAPI = f"/openapi/v3/apis/{GROUP}/{VERSION}"
NEEDED = ("SchemaMigration", "KeyRing", "DatabaseLogin")
"""Kinds that this operator serves."""
INTERVAL, MENDED_INTERVAL = 5.0, 30.0
"""Seconds between two looks for definitions that aren't there, and for ones that are older than this operator."""

MEND = (
    "kubectl exec <pod of the operator> -- slipway-operator crds | kubectl apply --server-side --force-conflicts -f -"
)

Schema = Mapping[str, Any]

GVK = "x-kubernetes-group-version-kind"


def texts() -> list[str]:
    """The definitions as YAML, by file name."""
    folder = files("slipway_operator").joinpath("crds")
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in found]


def as_stream() -> str:
    """All definitions as one YAML stream, for `kubectl apply -f -`."""
    return "".join(f"---\n{text.removeprefix('---').lstrip()}" for text in texts())


def shipped() -> dict[str, Schema]:
    """The schema of each kind."""
    definitions = [yaml.safe_load(text)["spec"] for text in texts()]
    return {
        definition["names"]["kind"]: version["schema"]["openAPIV3Schema"]
        for definition in definitions
        for version in definition["versions"]
        if version["name"] == VERSION
    }


def in_cluster(document: Mapping[str, Any]) -> dict[str, Schema]:
    """The schema of each kind, from the cluster's OpenAPI document of our group."""
    found: dict[str, Schema] = {}
    for schema in document.get("components", {}).get("schemas", {}).values():
        for kind in schema.get(GVK, ()):
            if kind.get("group") == GROUP and kind.get("version") == VERSION:
                found[kind["kind"]] = schema
    return found


def missing(ours: Schema, theirs: Schema, path: str = "") -> Iterator[str]:
    """Paths of fields, and `path: value` of permitted values, that `theirs` lacks."""
    for name, field in ours.get("properties", {}).items():
        below = f"{path}.{name}"
        other = theirs.get("properties", {}).get(name)
        if other is None:
            yield below
        elif path or name != "metadata":
            yield from missing(field, other, below)
    if "items" in ours:
        yield from missing(ours["items"], theirs.get("items", {}), f"{path}[]")
    if "enum" in theirs:
        yield from (f"{path}: {value}" for value in ours.get("enum", ()) if value not in theirs["enum"])


def declared(found: Any, schema: Schema | None) -> Any:
    """What of `found` a definition has fields for: of another, a server-side apply refuses the whole.

    With no schema all of it. What is left out is told elsewhere, and only makes a look remember less.
    """
    if isinstance(found, Mapping) and schema and "properties" in schema:
        fields = schema["properties"]
        return {name: declared(value, fields[name]) for name, value in found.items() if name in fields}
    if isinstance(found, list) and schema and "items" in schema:
        return [declared(value, schema["items"]) for value in found]
    return found


async def until_served(api: Api, *, interval: float = INTERVAL) -> None:
    """Wait until the cluster has the kinds that this operator serves; then tell what their definitions lack."""
    told = ""
    while True:
        problem, theirs = await _look(api)
        if not problem:
            break
        if problem != told:
            log.warning("The operator waits: %s", problem)
            told = problem
        await asyncio.sleep(interval * random.uniform(0.8, 1.2))  # noqa: S311 - it only spreads load
    _take(api, theirs)


async def until_whole(api: Api, *, interval: float = MENDED_INTERVAL) -> None:
    """While definitions lack something, look again: an upgrade may well have brought the operator first."""
    while _lacking(api.definitions):
        await asyncio.sleep(interval * random.uniform(0.8, 1.2))  # noqa: S311 - it only spreads load
        problem, theirs = await _look(api)
        if not problem and theirs != api.definitions:
            _take(api, theirs)


async def _look(api: Api) -> tuple[str, dict[str, Schema]]:
    """What is in the way, and the kinds that are there."""
    try:
        document = await api.document(OPENAPI)
    except ApiError as error:
        return f"The cluster's definitions can't be read: {error}", {}
    theirs = in_cluster(document or {})
    absent = [kind for kind in NEEDED if kind not in theirs]
    return f"The cluster doesn't know {', '.join(absent)}. To mend it: {MEND}" if absent else "", theirs


def _lacking(theirs: Mapping[str, Schema]) -> list[str]:
    ours = shipped()
    return [f"{kind}{path}" for kind in NEEDED for path in missing(ours[kind], theirs[kind])]


def _take(api: Api, theirs: dict[str, Schema]) -> None:
    """What is written from now on fits them."""
    api.definitions = theirs
    lacking = _lacking(theirs)
    telemetry.OUTDATED.set(len(lacking))
    for path in lacking:
        log.warning("The cluster's definition is older than this operator and lacks %s. To mend it: %s", path, MEND)
