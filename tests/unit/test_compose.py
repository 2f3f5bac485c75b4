"""compose.yaml as it can be judged by reading: what it mounts is there, what it sets is known, nothing is open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from servers.compose import ROOT, composed, mounts
from slipway.domains import SETTINGS
from slipway.settings.production import DEMO_SECRETS

OURS = ("migrate", "api", "worker")
PINNED = re.compile(r"(docker\.io/[\w./-]+|slipway):v?\d+\.\d+[\w.]*")


def faults(service: dict[str, Any]) -> Iterator[str]:
    """What a service has that it shouldn't, or lacks."""
    if not PINNED.fullmatch(service["image"]):
        yield "its image isn't pinned"
    if not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
        yield "it may write to its image, or keeps capabilities"
    if "healthcheck" not in service and service.get("restart") != "no":
        yield "nobody knows whether it is well"
    if any(not port.startswith("127.0.0.1:") for port in service.get("ports", ())):
        yield "other machines reach it"
    yield from (f"{path} isn't there" for path in mounts(service).values() if not path.exists())


@pytest.mark.parametrize("name", composed()["services"])
def test_a_service_is_pinned_restricted_watched_and_reached_from_this_machine_only(name: str) -> None:
    assert list(faults(composed()["services"][name])) == []


def test_what_is_open_unpinned_or_missing_is_told() -> None:
    loose = {"image": "redis:latest", "ports": ["6379:6379"], "volumes": ["./nothing:/nothing:ro"]}
    assert len(list(faults(loose))) == 5


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_sets_settings_that_there_are(name: str) -> None:
    known = {f"SLIPWAY_{field.upper()}" for field in SETTINGS.model_fields}
    assert set(composed()["services"][name]["environment"]) <= known


def test_schema_comes_first_then_api_and_worker() -> None:
    services = composed()["services"]
    assert services["migrate"]["depends_on"] == {"postgresql": {"condition": "service_healthy"}}
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_prometheus_and_grafana_start_only_when_asked_for() -> None:
    asked = {name for name, service in composed()["services"].items() if service.get("profiles") == ["observability"]}
    assert asked == {"prometheus", "grafana"}


def test_its_secrets_are_those_of_the_demo_that_production_refuses() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    given = set(re.findall(r"(?:PASSWORD: |://\w*:)([\w-]+)", text))
    demo = ROOT / "observability" / "compose" / "demo"
    assert {*given, (demo / "password").read_text()} <= DEMO_SECRETS
    assert given, "or nothing was looked at"
    assert (demo / "signing").read_text() == json.loads((ROOT / "chart/files/demo/jwks.json").read_text())["keys"][0][
        "kid"
    ]
