"""What is handed on is a value: nobody changes it under whoever else holds it, or gives it a member by a slip."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNTERS = {"_Window", "_Entry", "_Flight", "_Generation", "_Served", "_Failures", "Health", "Entry"}
"""Kept by one owner each, which changes them in place."""
UNSLOTTED = {"Settings"}
"""Its defaults are read from the class."""


def _values(half: str) -> Iterator[tuple[str, set[str]]]:
    """Each dataclass with what it asks of the decorator."""
    for path in sorted((ROOT / half).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(node, ast.ClassDef) and ast.unparse(decorator).startswith("dataclass"):
                    asked = decorator.keywords if isinstance(decorator, ast.Call) else []
                    yield node.name, {f"{each.arg}={ast.unparse(each.value)}" for each in asked}


@pytest.mark.parametrize("half", ["service", "operator"])
def test_every_value_is_frozen_and_takes_no_other_member(half: str) -> None:
    values = list(_values(half))
    assert len(values) >= 40
    for name, asked in values:
        least = {"frozen=True", "slots=True"}
        least -= {"frozen=True"} if name in COUNTERS else set()
        least -= {"slots=True"} if name in UNSLOTTED else set()
        assert asked >= least, name
