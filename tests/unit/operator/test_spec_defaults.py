"""What isn't written means what the definitions say it does: an older API server fills nothing in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_operator.evidence.consumers import Consumers, Endpoint, Report
from slipway_operator.keyrings import model as rings
from slipway_operator.keyrings import spec as ring_spec
from slipway_operator.logins import model as logins
from slipway_operator.logins import spec as login_spec
from slipway_operator.migrations import model as migrations
from slipway_operator.migrations import spec as migration_spec
from slipway_operator.specs import SpecError
from unit.operator import keyring_objects, login_objects, migration_objects

CRDS = Path(__file__).parents[3] / "chart" / "crds"


def filled(schema: dict[str, Any], found: Any) -> Any:
    """As the API server fills in what a definition has defaults for."""
    if not isinstance(found, dict):
        return found
    properties = schema.get("properties", {})
    whole = {**{name: one["default"] for name, one in properties.items() if "default" in one}, **found}
    return {name: filled(properties.get(name, {}), value) for name, value in whole.items()}


def defaults(plural: str, resource: dict[str, Any]) -> dict[str, Any]:
    definition = yaml.safe_load((CRDS / f"{plural}.slipway.dev.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: dict[str, Any] = filled(schema, resource["spec"])
    assert found != resource["spec"], "there are defaults"
    return {**resource, "spec": found}


def test_a_ring_s_defaults_are_the_definition_s() -> None:
    least = {**keyring_objects.ring(), "spec": {"secretName": "keys"}}
    assert ring_spec.parse(least) == ring_spec.parse(defaults("keyrings", least)) == rings.Spec("keys", Endpoint())


def test_a_login_s_defaults_are_the_definition_s() -> None:
    least = login_objects.login()
    del least["spec"]["consumers"]
    expected = logins.Spec("shop-admin", "shop", ("shop_a", "shop_b"), "shop-login", Endpoint())
    assert login_spec.parse(least) == login_spec.parse(defaults("databaselogins", least)) == expected


def test_a_migration_s_defaults_are_the_definition_s() -> None:
    least = migration_objects.resource()
    found = migration_spec.parse(least)
    # The key of a plan tells what was written, filled in or not.
    whole = migration_spec.parse(defaults("schemamigrations", least))
    assert {name: getattr(whole, name) for name in migrations.Spec.__slots__ if name != "plan_key"} == {
        name: getattr(found, name) for name in migrations.Spec.__slots__ if name != "plan_key"
    }
    required = (found.image, "shop", "api", "app=shop", "shop-owner", found.plan_key)
    assert found == migrations.Spec(*required)


@pytest.mark.parametrize(("every", "fits"), [("5m", True), ("299s", False)])
def test_a_login_is_rotated_every_five_minutes_at_the_most(every: str, *, fits: bool) -> None:
    wish = login_objects.login()
    wish["spec"]["rotateEvery"] = every
    if fits:
        assert login_spec.parse(wish).rotate_every == 300
    else:
        with pytest.raises(SpecError, match="299s is too short; write 5m or more"):
            login_spec.parse(wish)


def test_what_was_not_seen_is_nothing() -> None:
    assert (Consumers().wanted, Consumers().refers, Consumers().pods) == (0, False, ())
    report = Report("p")
    assert (report.fault, report.keys, report.token_lifetime, report.database_role) == ("", frozenset(), 0.0, "")
    for verdict in (rings.Verdict("Ready", "x", "x"), logins.Verdict("Ready", "x", "x")):
        assert (verdict.running, verdict.confirmed, verdict.lagging, verdict.next_rotation) == (0, 0, (), None)
    assert rings.Key("k", "EdDSA", "Signing", 1.0, 1.0).lifetime == 0.0
    assert migrations.GateSeen("passed").since == 0.0
