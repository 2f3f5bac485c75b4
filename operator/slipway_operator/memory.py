"""How much memory the operator's control group may use; beyond it the kernel kills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ROOT = Path("/sys/fs/cgroup")
FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""As a container sees its own group: version 2, version 1."""

UNLIMITED = 1 << 60
"""Version 1 says so by a number that no machine has."""


class MemoryLimit(Collector):
    """Nothing where there is no limit, or none to be read."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("slipway_memory_limit_bytes", "Memory that the container may use.")
        for file in FILES:
            try:
                said = (self._root / file).read_text().strip()
            except OSError:
                continue
            if said.isdecimal() and int(said) < UNLIMITED:
                family.add_metric((), int(said))
            break
        yield family
