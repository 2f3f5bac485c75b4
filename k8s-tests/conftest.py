"""One cluster for all tests, the images in it, and a namespace for each test that wants one.

Where no cluster can be had the tests that need one are left out, and the run says so; in CI that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from cluster.images.base import POSTGRES, REDIS, base_archive
from cluster.images.build import build
from cluster.model import Cluster
from cluster.provider import open_cluster, why_unavailable

SERVICE_IMAGE = "slipway:0.1.0"
NEXT_IMAGE = "slipway:0.1.0-next"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a cluster where none can be had; in CI they stay, and fail with the reason."""
    if os.environ.get("CI") == "true":
        return
    reason = why_unavailable()
    if reason is None:
        return
    left_out = [item for item in items if "cluster" in getattr(item, "fixturenames", ())]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = f"{len(left_out)} tests need a Kubernetes cluster and were left out: {reason}"


LEFT_OUT = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sentence = terminalreporter.config.stash.get(LEFT_OUT, None)
    if sentence is not None:
        terminalreporter.section("no cluster here", yellow=True)
        terminalreporter.line(sentence)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Started when no test before wanted it; torn down at the end unless it ran already."""
    with open_cluster() as opened:
        yield opened


@pytest.fixture(scope="session")
def demo_images(cluster: Cluster) -> None:
    for image in (POSTGRES, REDIS):
        cluster.load_image(base_archive(image))


@pytest.fixture(scope="session")
def service_image(cluster: Cluster, demo_images: None) -> str:  # noqa: ARG001 - the demo needs them beside it
    cluster.load_image(build("service", tag=SERVICE_IMAGE))
    return SERVICE_IMAGE


@pytest.fixture(scope="session")
def next_image(cluster: Cluster, service_image: str) -> str:  # noqa: ARG001 - the first comes first
    """The same code as another image, as the next release would be."""
    cluster.load_image(build("service", tag=NEXT_IMAGE, version="0.1.0-next"))
    return NEXT_IMAGE


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that enforces the restricted Pod Security Standard; removed with all that is in it."""
    with cluster.namespace(f"test-{uuid4().hex[:8]}") as name:
        yield name
