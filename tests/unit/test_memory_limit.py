"""Both programs read the limit of their control group alike, of either version."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.telemetry.memory import MemoryLimit
from slipway_operator.memory import MemoryLimit as OperatorsMemoryLimit

V2, V1 = "memory.max", "memory/memory.limit_in_bytes"


@pytest.mark.parametrize("collector", [MemoryLimit, OperatorsMemoryLimit])
@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({V2: "268435456\n"}, 268435456),
        ({V1: "268435456\n"}, 268435456),
        ({V2: "268435456\n", V1: "1\n"}, 268435456),
        ({V2: "max\n"}, None),
        ({V1: "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_the_limit_is_told_where_there_is_one(
    tmp_path: Path,
    collector: type[MemoryLimit | OperatorsMemoryLimit],
    files: dict[str, str],
    limit: int | None,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (family,) = collector(tmp_path).collect()
    assert family.name == "slipway_memory_limit_bytes"
    assert [sample.value for sample in family.samples] == ([] if limit is None else [limit])
