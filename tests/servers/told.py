"""What the people who run it are told: lines of the log by level, and counters by how much they grew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipway.telemetry.registry import REGISTRY


def said(caplog: pytest.LogCaptureFixture, name: str) -> list[tuple[str, str]]:
    """Level and sentence of each line of the logger and those below it."""
    return [(record.levelname, record.message) for record in records(caplog, name)]


def records(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    """Only theirs: what an earlier test left running may tell of itself meanwhile."""
    return [record for record in caplog.records if record.name.startswith(name)]


@contextmanager
def counted(sample: str, more: float = 1, labels: dict[str, str] | None = None) -> Iterator[None]:
    """The sample has grown by just so much in the block."""
    before = REGISTRY.get_sample_value(sample, labels) or 0.0
    yield
    assert (REGISTRY.get_sample_value(sample, labels) or 0.0) - before == more, sample
