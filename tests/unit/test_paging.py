"""Cursors and pages."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.http.paging import PageRequest, build_page, decode_cursor, encode_cursor
from slipway.http.problems import ValidationError


@dataclass(frozen=True)
class Row:
    id: UUID


@given(st.uuids())
def test_a_cursor_comes_back_as_the_position_it_stands_for(position: UUID) -> None:
    assert decode_cursor(encode_cursor(position)) == position


@given(st.text(max_size=64))
def test_any_other_text_is_refused_or_is_a_position_of_its_own(text: str) -> None:
    try:
        position = decode_cursor(text)
    except ValidationError:
        return
    assert decode_cursor(encode_cursor(position)) == position


@pytest.mark.parametrize("text", ["x", "AAAA", "é", "=" * 64, "A" * 64])
def test_a_text_that_is_no_cursor_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        decode_cursor(text)
    assert refused.value.details[0].location == "query.cursor"


@given(st.lists(st.uuids(), unique=True, max_size=40), st.integers(1, 7))
def test_walking_by_cursor_meets_every_row_once(ids: list[UUID], per_page: int) -> None:
    rows = [Row(position) for position in sorted(ids)]
    met: list[UUID] = []
    after: UUID | None = None
    for _ in range(len(rows) + 1):
        wanted = PageRequest(1, per_page, after)
        fetched = [row for row in rows if after is None or row.id > after][: per_page + 1]
        page = build_page(fetched, wanted, None, lambda row: row.id)
        met += page.items
        if page.next_cursor is None:
            break
        after = decode_cursor(page.next_cursor)
    assert met == [row.id for row in rows]


@pytest.mark.parametrize(("fetched", "page", "known"), [(3, 1, 3), (0, 1, 0), (4, 1, 99), (2, 2, 99)])
async def test_rows_are_counted_only_where_the_page_does_not_tell(fetched: int, page: int, known: int) -> None:
    async def count() -> int:
        return 99

    assert await PageRequest(page, 3, None).total([object()] * fetched, count) == known
