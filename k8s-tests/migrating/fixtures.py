"""Images of further releases, built and given to the cluster when a test first wants them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from cluster.images.releases import Release, build_release, tag
from cluster.model import Cluster


@pytest.fixture(scope="session")
def release(cluster: Cluster, service_image: str) -> Callable[[Release], str]:  # noqa: ARG001 - what they come after
    """The tag of a release that comes after `service_image`, loaded."""

    @cache
    def loaded(name: Release) -> str:
        cluster.load_image(build_release(name))
        return tag(name)

    return loaded
