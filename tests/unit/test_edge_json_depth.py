"""Counting how deep JSON nests, against a parser's own count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.edge.json_depth import deeper_than, json_depth

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def depth(document: Any) -> int:
    if isinstance(document, dict):
        return 1 + max(map(depth, document.values()), default=0)
    if isinstance(document, list):
        return 1 + max(map(depth, document), default=0)
    return 0


@given(DOCUMENTS, st.booleans())
def test_the_depth_is_that_of_the_parsed_document(document: Any, ascii_only: bool) -> None:  # noqa: FBT001 - hypothesis
    assert json_depth(json.dumps(document, ensure_ascii=ascii_only).encode()) == depth(document)


@given(DOCUMENTS, st.integers(0, 6))
def test_the_quick_answer_is_the_exact_one(document: Any, limit: int) -> None:
    assert deeper_than(json.dumps(document).encode(), limit) == (depth(document) > limit)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_depth(body: bytes) -> None:
    assert json_depth(body) >= 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"[" * 1000, 1000), (b'{"a":"[[[["}', 1), (rb'["\"[[["]', 1), (b'["[[[', 1), (b"", 0), (b"]]]", 0)],
)
def test_broken_json_has_the_depth_that_a_parser_would_reach(body: bytes, expected: int) -> None:
    assert json_depth(body) == expected
