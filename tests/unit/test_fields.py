"""Fields and bodies that every domain shares."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from slipway.app import openapi_document
from slipway.exports.schemas import ExportRequest
from slipway.http import fields
from slipway.items.schemas import ItemContent, ItemPatch
from slipway.sessions.schemas import PasswordChange, PasswordResetConfirm, PasswordResetRequest, RefreshRequest
from slipway.settings import Settings
from slipway.users.schemas import EmailChangeConfirm, Permissions, UserCreate, UserPatch, UserReplace

BLANKS = (" ", "\t\n\r", "\x00", "\x01\x1f", "\x7f\x85", "\u00a0", "\u2003\u3000", "\u2028\u2029", "\u200b\u200c\u200d",
          "\ufeff", "\u2060", "\u00ad", "\u200e\u202e\u2066", "\u3164", "\u115f\u1160", "\uffa0", "\u2800", "\ufe0f",
          "\U000e0100", "\U000e0041", " \u200b\u00a0\t")  # fmt: skip
READABLE = ("a", " a ", "\u200ba", "é", "e\u0301", "船", "👩\u200d🚀", "0", "—", "¿", "\ue000")
CONTENT = {
    ItemContent: {"title": "x", "body": "x"},
    ItemPatch: {"title": "x", "body": "x"},
    UserCreate: {"email": "a@example.com", "password": "x" * 12, "display_name": "x", "permissions": ["items:read"]},
    UserReplace: {"email": "a@example.com", "display_name": "x", "is_active": True, "current_password": "x"},
    UserPatch: {"email": "a@example.com", "display_name": "x", "is_active": True, "current_password": "x"},
    Permissions: {"permissions": ["items:read"]},
    ExportRequest: {"format": "csv"},
    RefreshRequest: {"refresh_token": "x"},
    PasswordChange: {"current_password": "x", "new_password": "x"},
    PasswordResetRequest: {"email": "a@example.com"},
    PasswordResetConfirm: {"token": "x", "new_password": "x"},
    EmailChangeConfirm: {"token": "x"},
}
MEMBERS = [(model, member) for model, content in CONTENT.items() for member in content]


def _faults(model: type[BaseModel], content: dict[str, Any]) -> list[str]:
    try:
        model(**content)
    except ValidationError as error:
        return [".".join(map(str, fault["loc"])) for fault in error.errors()]
    return []


def test_the_bodies_looked_at_are_all_that_the_api_takes() -> None:
    paths = openapi_document(Settings())["paths"]
    operations = [operation for of_path in paths.values() for operation in of_path.values()]
    contents = [operation["requestBody"]["content"] for operation in operations if "requestBody" in operation]
    taken = {body["application/json"]["schema"]["$ref"].rpartition("/")[2] for body in contents if len(body) == 1
             and "application/json" in body}  # fmt: skip
    assert taken == {model.__name__ for model in CONTENT}
    assert all(set(content) == set(model.model_fields) for model, content in CONTENT.items())


@pytest.mark.parametrize(("model", "member"), MEMBERS)
def test_null_is_refused_in_every_member_of_every_body(model: type[BaseModel], member: str) -> None:
    assert _faults(model, CONTENT[model]) == []
    assert _faults(model, CONTENT[model] | {member: None}) == [member]


def test_no_body_describes_a_member_as_one_that_can_be_null() -> None:
    schemas = openapi_document(Settings())["components"]["schemas"]
    for model in CONTENT:
        assert "null" not in str(schemas[model.__name__]["properties"]), model
    assert schemas["ItemPatch"]["minProperties"] == schemas["UserPatch"]["minProperties"] == 1


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
