"""What a domain declares of itself in its `domain.py`: all that others must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter

from slipway.jobs.expiries import Expiry
from slipway.jobs.kinds import Kind
from slipway.settings import Settings
from slipway.storage.engine import Database


def _none(_settings: Settings, _database: Database) -> Mapping[str, Kind]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """`tags` are OpenAPI's, with a sentence each; `kinds` gives the jobs by name, `expiries` what is deleted when."""

    tags: Mapping[str, str]
    routers: tuple[APIRouter, ...] = ()
    kinds: Callable[[Settings, Database], Mapping[str, Kind]] = _none
    expiries: tuple[Expiry, ...] = ()
