"""Slipway itself is upgraded from the release before, and rolled back to it, under load.

First with its definitions forgotten, as `helm upgrade` does by itself: it leaves `crds/` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import definitions
from cluster.binaries import tool
from cluster.commands import run
from cluster.images import released
from cluster.model import Cluster
from load.installed import CHART, Installed
from load.looking import seen
from load.reporting import line_writer
from load.verdict import nothing_failed
from rotating import material
from rotating.world import World, world_opened

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]

KINDS = ("schemamigration", "keyring", "databaselogin")
OUTDATED = "slipway_operator_definitions_outdated"


@pytest.fixture
def before(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    """A namespace in which the release before is installed, with its definitions; ours are back at the end."""
    cluster.load_image(released.build_released("service"))
    cluster.load_image(released.build_released("operator"))
    definitions.establish(cluster.kubectl, released.definitions())
    try:
        with world_opened(cluster, service_image, line_writer(pytestconfig)) as world:
            Installed(cluster, world.namespace).apply(
                image_values(world, released.TAGS["service"], released.TAGS["operator"]),
                chart=released.sources() / "chart",
            )
            yield world
    finally:
        definitions.establish(cluster.kubectl, definitions.ours())


def image_values(world: World, service: str, operator: str = "") -> dict[str, Any]:
    found = world.values(service)
    if operator:
        repository, tag = operator.split(":")
        found["operator"] = {**found.get("operator", {}), "image": {"repository": repository, "tag": tag}}
    return found


def kept(world: World) -> dict[str, Any]:
    """What an upgrade must leave alone: each key with its stage, the role in use, and both Secrets."""
    secrets = {name: world.secret(name) for name in (material.RING, material.LOGIN)}
    return {
        "keys": world.ring.stages(),
        "role": world.login.role(),
        "secrets": {name: (one["metadata"]["uid"], material.data(one)) for name, one in secrets.items()},
    }


def all_ready(world: World) -> None:
    for resource in (world.migration, world.ring, world.login):
        resource.become_ready()


def test_an_upgrade_restarts_no_server_of_the_try_out() -> None:
    """What they hold may be in memory only."""
    ours, theirs = (
        {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "StatefulSet"}
        for objects in (yaml.safe_load_all(rendered(chart)) for chart in (CHART, released.sources() / "chart"))
    )
    assert len(ours) == 2
    assert ours == theirs


def rendered(chart: Path) -> str:
    return run([tool("helm"), "template", "slipway", chart, "--set=demo=true", "--namespace=try-out"], timeout=60)


def test_an_upgrade_and_the_way_back_fail_no_request_and_change_no_key_and_no_login(
    before: World, service_image: str
) -> None:
    world, cluster = before, before.cluster
    release = Installed(cluster, world.namespace)
    all_ready(world)
    held = kept(world)
    with world.load(export_every=4) as running:
        release.apply(image_values(world, service_image))
        all_ready(world)
        assert world.metric(OUTDATED) > 0, "the definitions of the release before lack nothing: this shows nothing"
        assert kept(world) == held, world.login.told()
        definitions.establish(cluster.kubectl, definitions.ours())
        seen(lambda: world.metric(OUTDATED) == 0, 60, "definitions taken up without a restart")
        for kind in KINDS:
            stored = cluster.kubectl.run("get", kind, "slipway", world.scope, "--output=yaml")
            cluster.kubectl.run("replace", "--dry-run=server", "--filename=-", world.scope, input=stored)
        all_ready(world)
        running.carry_on(2)
        cluster.helm.run(
            *("rollback", "slipway", "1", world.scope, "--wait", "--wait-for-jobs", "--timeout=120s"), timeout=135
        )
        all_ready(world)
        assert kept(world) == held, world.login.told()
        outcome = world.judged("upgrade from the release before, and back", running.finish())
    nothing_failed(outcome)
    images = "jsonpath={.items[*].spec.template.spec.containers[*].image}"
    shown = set(cluster.kubectl.run("get", "deployments", world.scope, f"--output={images}").split())
    assert shown == set(released.TAGS.values())
    assert yaml.safe_load(cluster.helm.run("status", "slipway", world.scope, "--output=yaml"))["version"] == 3
