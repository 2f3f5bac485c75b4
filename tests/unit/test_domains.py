"""What domains declare, and what they need of a process."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

import pytest

from slipway.app import ROUTERS
from slipway.domains import DOMAINS
from slipway.resources import Resources
from slipway.worker import EXPIRIES

PROTOCOLS = ["users.UserParts", "sessions.SessionParts", "items.ItemParts", "exports.ExportParts"]


@pytest.mark.parametrize("named", PROTOCOLS)
def test_a_process_has_the_parts_that_a_domain_names(named: str) -> None:
    package, _, name = named.partition(".")
    protocol = getattr(import_module(f"slipway.{package}.parts"), name)
    wanted = {key: kind for each in protocol.__mro__ for key, kind in getattr(each, "__annotations__", {}).items()}
    had = {field.name: field.type for field in fields(Resources)}
    assert wanted.items() <= had.items()
    assert len(wanted) >= 2


def test_every_router_expiry_and_tag_of_a_domain_is_served() -> None:
    routers = [router for domain in DOMAINS for router in domain.routers]
    assert {id(router) for router in routers} <= {id(router) for router in ROUTERS}
    assert {expiry for domain in DOMAINS for expiry in domain.expiries} < set(EXPIRIES)
    told = {name for domain in DOMAINS for name in domain.tags}
    assert {tag for router in routers for tag in router.tags} == told
