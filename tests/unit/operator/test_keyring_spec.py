from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.evidence.consumers import Endpoint, Tls
from slipway_operator.keyrings.spec import parse, unfit
from slipway_operator.specs import SpecError
from unit.operator.keyring_objects import SECRET, ring


def test_what_is_not_written_has_the_definition_s_defaults() -> None:
    found = parse(ring())

    assert (found.secret_name, found.endpoint) == (SECRET, Endpoint("app=shop", 9090, "/keys"))
    assert (found.rotate_every, found.token_lifetime, found.validator_cache) == (2_592_000, 900, 600)
    assert (found.leeway, found.propagation, found.retain, found.suspend) == (60, 120, True, False)


def test_what_is_written_is_followed() -> None:
    found = parse(ring(algorithm="ES256", rotateEvery="1h30m", rotateNonce="n", revoke=["k"], deletionPolicy="Delete"))

    assert (found.algorithm, found.rotate_every, found.nonce) == ("ES256", 5400, "n")
    assert (found.revoke, found.retain) == (frozenset({"k"}), False)


def test_without_a_selector_pods_are_found_by_reference_and_asked_at_the_usual_port() -> None:
    without = ring()
    del without["spec"]["consumers"]
    assert parse(without).endpoint == Endpoint("", 9090, "/keys")
    assert parse(ring(consumers={"port": 1, "path": "/"})).endpoint == Endpoint("", 1, "/")


def test_https_is_verified_by_an_authority_and_a_name() -> None:
    asked = {"port": "ops", "scheme": "HTTPS", "serverName": "shop.one", "ca": {"configMapName": "roots"}}
    assert parse(ring(consumers=asked)).endpoint == Endpoint("", "ops", "/keys", Tls("roots", "shop.one", "ca.crt"))
    other = {**asked, "ca": {"configMapName": "roots", "key": "root.pem"}}
    assert parse(ring(consumers=other)).endpoint == Endpoint("", "ops", "/keys", Tls("roots", "shop.one", "root.pem"))


def test_evidence_of_time_asks_no_pod() -> None:
    assert parse(ring(evidence="Time", consumers=None)).endpoint is None


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"consumers": {"selector": {}}}, "at least one label"),
        ({"rotateEvery": "soon"}, "no duration"),
        ({"consumers": "all"}, "apply the CRDs"),
        ({"consumers": {"scheme": "HTTPS"}}, "needs ca and serverName"),
        ({"consumers": {"scheme": "HTTPS", "ca": {"configMapName": "ca"}}}, "needs ca and serverName"),
        ({"consumers": {"scheme": "HTTPS", "serverName": "shop"}}, "needs ca and serverName"),
        ({"consumers": {"ca": {"configMapName": "ca"}}}, "are for scheme HTTPS"),
        ({"consumers": {"scheme": "HTTP", "serverName": "shop"}}, "are for scheme HTTPS"),
        ({"consumers": {"scheme": "HTTPS", "serverName": "shop", "ca": {"key": "k"}}}, "apply the CRDs"),
        ({"revoke": 7}, "apply the CRDs"),
    ],
)
def test_a_spec_that_can_not_be_followed_is_refused_with_what_to_write(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse(ring(**spec))


def test_a_refused_spec_still_names_its_secret() -> None:
    assert unfit(ring(rotateEvery="soon")).secret_name == SECRET
