"""Fixtures of the long matrices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cluster.model import Cluster
from load.scene import Scene
from load.table import Row, write

TABLE = Path(__file__).parents[2] / "docs" / "nothing-fails.md"


@pytest.fixture(scope="module")
def scene(cluster: Cluster, service_image: str, next_image: str) -> Iterator[Scene]:
    with cluster.namespace(f"nothing-fails-{uuid4().hex[:6]}") as namespace:
        yield Scene(cluster, namespace, service_image, next_image)


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Each scenario adds its row, also one that failed; the document shows what was measured together."""
    measured: list[Row] = []
    yield measured
    if measured:
        write(TABLE, measured)
