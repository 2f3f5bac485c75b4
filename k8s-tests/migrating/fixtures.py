"""Images of the operator and of further releases, built and given to the cluster when a test first wants them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from cluster.images.build import build
from cluster.images.releases import Release, build_release, tag
from cluster.model import Cluster

OPERATOR_IMAGE = "slipway-operator:0.1.0"


@pytest.fixture(scope="session")
def operator_image(cluster: Cluster, builder: None) -> str:  # noqa: ARG001 - else there is nothing to load
    cluster.load_image(build("operator", tag=OPERATOR_IMAGE))
    return OPERATOR_IMAGE


@pytest.fixture(scope="session")
def release(cluster: Cluster, operator_image: str, service_image: str) -> Callable[[Release], str]:  # noqa: ARG001
    """The tag of a release that comes after `service_image`, loaded; the operator is there too."""

    @cache
    def loaded(name: Release) -> str:
        cluster.load_image(build_release(name))
        return tag(name)

    return loaded
