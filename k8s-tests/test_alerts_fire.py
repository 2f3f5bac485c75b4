"""Each alert's mechanism against real faults: what must fire fires, nothing else does, and the runbook ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from charts.render import Renderer
from cluster.model import Cluster
from firing.scenarios import SCENARIOS
from firing.world import World, world_opened
from load.reporting import line_writer

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def world(cluster: Cluster, service_image: str, renderer: Renderer, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_opened(cluster, service_image, renderer, line_writer(pytestconfig)) as opened:
        yield opened


@pytest.mark.parametrize("name", ["redis", "worker", "api", "lease", "pool"])
def test_a_fault_fires_its_alerts_and_no_others_until_the_runbook_mends_it(world: World, name: str) -> None:
    world.play(BY_NAME[name])
