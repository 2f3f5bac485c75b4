"""One cluster for all tests, the images in it, and a namespace for each test that wants one.

Where no cluster can be had, or no image be built, the tests that need it are left out, and the run says so; in CI that
is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from charts import definitions
from charts.render import Renderer
from cluster import provider
from cluster.binaries import tool
from cluster.errors import ClusterError, ClusterUnavailableError
from cluster.images import buildah, registry
from cluster.images.base import POSTGRES, REDIS, base_archive
from cluster.images.build import OPERATOR_TAG, build
from cluster.images.build import why_unavailable as why_no_builder
from cluster.images.buildah import NoBuilderError
from cluster.model import Cluster
from cluster.preparation import prepare
from cluster.progress import Progress, to_stderr
from cluster.provider import open_cluster
from cluster.settings import Settings

SERVICE_IMAGE = "slipway:0.1.0"
NEXT_IMAGE = "slipway:0.1.0-next"


@dataclass(frozen=True)
class Need:
    """`why_absent` gives a sentence where the fixture can't be had. CI must have what is `vital`, or fail."""

    why_absent: Callable[[], str | None]
    vital: bool = True


NEEDS = {
    "cluster": Need(provider.why_unavailable),
    "builder": Need(why_no_builder),
    # These test one of several ways: a CI that goes another (kind, docker) lacks nothing.
    "own_cluster": Need(provider.why_no_own, vital=False),
    "own_api_server": Need(provider.why_not_ours, vital=False),
    "buildah_here": Need(buildah.why_unavailable, vital=False),
    "registry": Need(registry.why_unavailable, vital=False),
}
"""Fixture → what it takes."""

LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what can't be tested here; in CI what is vital stays, and fails with the reason."""
    in_ci = os.environ.get("CI") == "true"
    sentences = config.stash.setdefault(LEFT_OUT, [])
    for fixture, need in NEEDS.items():
        wanting = [item for item in items if fixture in fixtures_of(item)]
        if not wanting or (need.vital and in_ci):
            continue
        reason = need.why_absent()
        if reason is not None:
            items[:] = [item for item in items if item not in wanting]
            config.hook.pytest_deselected(items=wanting)
            sentences.append(f"{len(wanting)} tests were left out: {reason}")


def fixtures_of(item: pytest.Item) -> tuple[str, ...]:
    return tuple(getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Build what tests need beforehand: the first time that takes longer than any test may."""
    if session.testsfailed or session.config.option.collectonly or not session.items:
        return  # whoever only shares tests out to processes has none
    wanted = {fixture for item in session.items for fixture in fixtures_of(item) if fixture in NEEDS}
    possible = {fixture for fixture in wanted if NEEDS[fixture].why_absent() is None}
    try:
        prepare(possible, Settings.from_environment(os.environ), Progress(to_stderr))
    except (ClusterError, OSError) as error:  # OSError: a full disk, a folder that can't be written
        sentence = f"The tests can't be prepared: {error}"
        to_stderr(sentence)  # of processes side by side nobody shows standard output, nor why they end
        pytest.exit(sentence, returncode=1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run whose every test was left out has said why; pytest would call it a failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(LEFT_OUT, []):
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sentences = terminalreporter.config.stash.get(LEFT_OUT, [])
    if sentences:
        terminalreporter.section("not tested here", yellow=True)
        for sentence in sentences:
            terminalreporter.line(sentence)


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer(tool("helm"))


@pytest.fixture(scope="session")
def builder() -> None:
    """Something that builds images: a docker engine, or buildah."""
    reason = why_no_builder()
    if reason is not None:
        raise NoBuilderError(reason)


@pytest.fixture(scope="session")
def buildah_here(builder: None) -> None:  # noqa: ARG001 - where buildah works, something builds
    """buildah, for tests of what only it does."""
    buildah.ensure()


@pytest.fixture(scope="session")
def own_cluster() -> None:
    """A machine on which a cluster can be made from nothing."""
    reason = provider.why_no_own()
    if reason is not None:
        raise ClusterUnavailableError(reason)


@pytest.fixture(scope="session")
def own_api_server(cluster: Cluster) -> None:
    """The cluster of the tests is our own: its audit log can be read, and its programs restarted."""
    if cluster.kind != "own":
        raise ClusterUnavailableError(provider.why_not_ours() or "")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Started when no test before wanted it; torn down at the end unless it ran already."""
    with open_cluster() as opened:
        yield opened


@pytest.fixture(scope="session")
def demo_images(cluster: Cluster, builder: None) -> None:  # noqa: ARG001 - else there is nothing to load
    """What a demo needs beside the service: its servers, the operator, and the operator's definitions."""
    for image in (POSTGRES, REDIS):
        cluster.load_image(base_archive(image))
    cluster.load_image(build("operator", tag=OPERATOR_TAG))
    definitions.establish(cluster.kubectl, definitions.ours())


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
