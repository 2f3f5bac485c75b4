"""Fields and bodies that every domain shares."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from slipway.http import fields
from slipway.items.schemas import ItemContent, ItemPatch
from slipway.users.schemas import UserPatch

BLANKS = (" ", "\t\n\r", "\x00", "\x01\x1f", "\x7f\x85", "\u00a0", "\u2003\u3000", "\u2028\u2029", "\u200b\u200c\u200d",
          "\ufeff", "\u2060", "\u00ad", "\u200e\u202e\u2066", "\u3164", "\u115f\u1160", "\uffa0", "\u2800", "\ufe0f",
          "\U000e0100", "\U000e0041", " \u200b\u00a0\t")  # fmt: skip
READABLE = ("a", " a ", "\u200ba", "é", "e\u0301", "船", "👩\u200d🚀", "0", "—", "¿", "\ue000")


def _faults(model: type[BaseModel], content: dict[str, Any]) -> list[str]:
    try:
        model(**content)
    except ValidationError as error:
        return [".".join(map(str, fault["loc"])) for fault in error.errors()]
    return []


@pytest.mark.parametrize("title", ["", *BLANKS])
def test_a_title_in_which_nothing_can_be_seen_is_refused_wherever_it_is_written(title: str) -> None:
    assert _faults(ItemContent, {"title": title}) == ["title"]
    assert _faults(ItemPatch, {"title": title, "body": "c"}) == ["title"]


@pytest.mark.parametrize("name", BLANKS)
def test_a_name_is_empty_or_has_something_to_see(name: str) -> None:
    assert _faults(UserPatch, {"display_name": name}) == ["display_name"]
    assert _faults(UserPatch, {"display_name": ""}) == []


@pytest.mark.parametrize("title", READABLE)
def test_a_title_with_anything_to_see_is_taken_as_it_is(title: str) -> None:
    assert ItemContent(title=title).title == title


def test_without_looking_for_what_can_be_seen_blanks_would_be_a_title(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_BLANK", frozenset())
    assert _faults(ItemContent, {"title": "\u2003"}) == []


@pytest.mark.parametrize("body", [{}, {"current_password": "x"}])
def test_a_change_names_something_to_change(body: dict[str, Any]) -> None:
    assert _faults(UserPatch, body) == [""]
    assert _faults(ItemPatch, {}) == [""]


@pytest.mark.parametrize("bounds", [(0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF)])
def test_variation_selectors_are_unseen_to_the_ends_of_their_ranges_and_no_further(bounds: tuple[int, int]) -> None:
    least, most = bounds
    taken = [_faults(ItemContent, {"title": chr(code)}) == [] for code in (least - 1, least, most, most + 1)]
    assert taken == [True, False, False, True]


@pytest.mark.parametrize(("code", "stored"), [(0xD7FF, True), (0xD800, False), (0xDFFF, False), (0xE000, True)])
def test_half_of_a_surrogate_pair_is_refused_and_its_neighbours_are_not(code: int, *, stored: bool) -> None:
    assert (_faults(ItemContent, {"title": "x", "body": chr(code)}) == []) is stored
