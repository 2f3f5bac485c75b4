from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from slipway_operator.evidence.consumers import Endpoint
from slipway_operator.logins.model import Spec
from slipway_operator.logins.spec import TOO_STRONG, parse, unfit
from slipway_operator.specs import SpecError

RESOURCE: dict[str, Any] = {
    "metadata": {"name": "shop"},
    "spec": {
        "admin": {"secretName": "shop-admin"},
        "memberOf": "shop_app",
        "roles": ["shop_a", "shop_b"],
        "secretName": "shop-login",
        "consumers": {"selector": {"matchLabels": {"app": "shop"}}},
    },
}


def with_spec(**changes: object) -> dict[str, Any]:
    resource = deepcopy(RESOURCE)
    resource["spec"] |= changes
    return resource


def test_a_spec_is_read_with_its_defaults() -> None:
    assert parse(RESOURCE) == Spec(
        "shop-admin", "shop_app", ("shop_a", "shop_b"), "shop-login", Endpoint("app=shop", 9090, "/keys"), 2_592_000.0
    )


def test_without_a_selector_pods_are_found_by_reference_and_asked_at_the_usual_port() -> None:
    without = deepcopy(RESOURCE)
    del without["spec"]["consumers"]
    assert parse(without).endpoint == Endpoint("", 9090, "/keys")


def test_every_field_of_a_spec_is_read() -> None:
    consumers = {"selector": {"matchLabels": {"app": "shop"}}, "port": 9191, "path": "/held"}
    found = parse(
        with_spec(
            connectionLimit=20,
            rotateEvery="1h30m",
            rotateNonce="n",
            historyLimit=3,
            suspend=True,
            consumers=consumers,
            admin={"secretName": "shop-admin", "address": "postgresql://db/shop"},
        )
    )
    assert found.endpoint == Endpoint("app=shop", 9191, "/held")
    assert (found.connection_limit, found.rotate_every, found.nonce) == (20, 5_400.0, "n")
    assert (found.history_limit, found.suspend) == (3, True)
    assert (found.admin_secret, found.admin_address) == ("shop-admin", "postgresql://db/shop")


@pytest.mark.parametrize("role", [*sorted(TOO_STRONG), "pg_write_all_data"])
def test_a_role_with_more_rights_than_a_service_needs_is_refused(role: str) -> None:
    with pytest.raises(SpecError, match="more rights than a service needs"):
        parse(with_spec(memberOf=role))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"roles": ["shop_a", "shop_a"]}, "two different names"),
        ({"roles": ["shop_app", "shop_b"]}, "memberOf must not be one of roles"),
        ({"roles": ["shop_a", "postgres"]}, "postgres, which isn't ours to alter"),
        ({"roles": ["pg_monitor", "shop_b"]}, "pg_monitor, which isn't ours to alter"),
        ({"secretName": "shop-admin"}, "must differ from admin.secretName"),
        ({"rotateEvery": "299s"}, "299s is too short; write 5m or more"),
        ({"rotateEvery": "soon"}, "is no duration"),
        ({"consumers": {"selector": {}}}, "needs at least one label"),
        ({"roles": ["shop_a"]}, "apply the CRDs"),
        ({"roles": None}, "apply the CRDs"),
        ({"admin": {}}, "apply the CRDs"),
    ],
)
def test_a_spec_that_cannot_hold_is_refused_with_what_to_write(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse(with_spec(**changes))


def test_the_shortest_rotation_is_allowed() -> None:
    assert parse(with_spec(rotateEvery="5m")).rotate_every == 300.0


def test_what_stands_in_for_a_refused_spec_knows_the_secret_at_most() -> None:
    assert unfit(RESOURCE).secret_name == "shop-login"
    assert unfit({}).secret_name == ""
