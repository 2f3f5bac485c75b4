"""One release for all tests of rotations: keys and logins outlive each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.model import Cluster
from load.reporting import line_writer
from rotating.world import World, world_opened


@pytest.fixture(scope="session")
def world(cluster: Cluster, service_image: str, pytestconfig: pytest.Config) -> Iterator[World]:
    with world_opened(cluster, service_image, line_writer(pytestconfig)) as opened:
        opened.upgrade(service_image)
        opened.note_secrets()
        yield opened
