"""What domains declare, and what they need of a process."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import slipway
from servers.databases import TestDatabase
from servers.migration_images import owner_settings, session
from slipway.app import ROUTERS
from slipway.domains import DOMAINS, SETTINGS
from slipway.local import revisions
from slipway.local.revisions import generated
from slipway.resources import Resources
from slipway.storage.models import Base
from slipway.worker import EXPIRIES

PACKAGE = Path(slipway.__file__).parent
CONTRACTS = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PARTS = [f"slipway.{path.parent.name}.parts" for path in sorted(PACKAGE.glob("*/parts.py"))]
PROTOCOLS = [
    each
    for module in ("slipway.http.owned", *PARTS)
    for each in vars(import_module(module)).values()
    if getattr(each, "_is_protocol", False) and each.__module__ == module
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_process_has_the_parts_that_a_domain_names(protocol: type) -> None:
    wanted = {key: kind for each in protocol.__mro__ for key, kind in getattr(each, "__annotations__", {}).items()}
    had = {field.name: field.type for field in fields(Resources)}
    told = wanted.get("settings", "Settings")
    assert told in {each.__name__ for each in SETTINGS.__mro__}, "a domain declares the settings that it wants"
    assert (wanted | {"settings": "Settings"}).items() <= had.items()
    assert wanted


def test_the_parts_of_all_are_looked_at() -> None:
    assert {each.__name__ for each in PROTOCOLS} >= {"UserParts", "SessionParts", "ExportParts", "OwnedParts"}


def test_every_module_has_a_floor_and_a_domain_is_in_the_list() -> None:
    [floors] = [each for each in CONTRACTS if each["type"] == "layers"]
    named = {name for layer in floors["layers"] for name in layer.split(" | ")}
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    domains = {path.parent.name for path in PACKAGE.glob("*/domain.py")}
    assert modules - {"__init__"} <= named | domains
    assert [name for name in domains if import_module(f"slipway.{name}.domain").DOMAIN not in DOMAINS] == []


def test_every_router_expiry_and_tag_of_a_domain_is_served() -> None:
    routers = [router for domain in DOMAINS for router in domain.routers]
    assert {id(router) for router in routers} <= {id(router) for router in ROUTERS}
    assert {expiry for domain in DOMAINS for expiry in domain.expiries} < set(EXPIRIES)
    told = {name for domain in DOMAINS for name in domain.tags}
    assert {tag for router in routers for tag in router.tags} == told


async def test_the_models_have_nothing_that_our_own_revisions_lack(database: TestDatabase) -> None:
    async with revisions.open_session(
        owner_settings(database), 0.0, revisions.Progress(lambda _: None, revisions.unheard)
    ) as opened:
        assert await opened.sqlalchemy.run_sync(generated, Base.metadata) == ""


def test_neither_a_route_nor_what_it_depends_on_takes_a_thread() -> None:
    """FastAPI runs whatever isn't a coroutine in one, which costs more than most of them do."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    called = {call for route in routes for call in _called(route.dependant)}
    assert len(called) > len(routes)
    assert [
        call for call in called if not (iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__))
    ] == []


def _called(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for below in dependant.dependencies:
        yield from _called(below)


async def foreign_keys(database: TestDatabase, which: str) -> list[str]:
    async with session(database.url_owner) as connection:
        found = await connection.fetch(
            "SELECT conrelid::regclass || ': ' || pg_get_constraintdef(oid) FROM pg_constraint"  # noqa: S608 - ours
            f" WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND {which}"
        )
    return [row[0] for row in found]


async def test_what_a_user_has_goes_with_the_user(database: TestDatabase) -> None:
    assert len(await foreign_keys(database, "confdeltype = 'c'")) >= 5
    assert await foreign_keys(database, "confdeltype <> 'c'") == []


async def test_every_foreign_key_has_an_index_that_begins_with_it(database: TestDatabase) -> None:
    unindexed = "NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = conrelid AND i.indkey[0] = conkey[1])"
    assert await foreign_keys(database, unindexed) == []
