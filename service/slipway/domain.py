"""What a domain declares of itself in its `domain.py`: all that others must know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from slipway.jobs.expiries import Expiry
from slipway.jobs.kinds import Kind
from slipway.settings import Settings
from slipway.storage.engine import Database


def _none(_settings: Any, _database: Database) -> Mapping[str, Kind]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """`tags` are OpenAPI's, with a sentence each; `kinds` gives the jobs by name, `expiries` what is deleted when.

    `settings` adds a domain's own to those of every process; whoever takes them names the class that has them.
    """

    tags: Mapping[str, str]
    routers: tuple[APIRouter, ...] = ()
    settings: type[Settings] = Settings
    kinds: Callable[[Any, Database], Mapping[str, Kind]] = _none
    expiries: tuple[Expiry, ...] = ()


def composed(domains: Iterable[Domain]) -> type[Settings]:
    """The core's settings and those of all domains in one. Raises TypeError for a name that two of them have."""
    parts: list[type[Settings]] = list(dict.fromkeys([Settings, *(domain.settings for domain in domains)]))
    owners: dict[str, type[Settings]] = {}
    for part in parts:
        for name in part.__annotations__.keys() & part.model_fields.keys():
            owner = owners.setdefault(name, part)
            if owner is not part:
                raise TypeError(
                    f"{part.__qualname__} claims SLIPWAY_{name.upper()}, which {owner.__qualname__} has: name it anew."
                )
    return type("ProcessSettings", tuple(reversed(parts)), {"__doc__": Settings.__doc__, "__module__": __name__})
