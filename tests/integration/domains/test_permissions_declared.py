"""The one table of permissions."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from slipway.administrators import ADMINISTRATOR
from slipway.app import openapi_document
from slipway.auth import permissions
from slipway.auth.permissions import Permission, declare, defaults, scopes
from slipway.settings import Settings
from slipway.users.schemas import UserCreate

BEFORE = defaults()
"""Of all domains."""
NEW = {"email": "ada@example.com", "password": "correct horse battery staple"}


@pytest.fixture
def boats(monkeypatch: pytest.MonkeyPatch) -> str:
    """A permission that a domain of somebody else declares."""
    monkeypatch.setattr(permissions, "_TABLE", dict(permissions._TABLE))  # noqa: SLF001 - undone after the test
    return declare("boats:read", "Read one's own boats.", by_default=True)


def test_a_declared_permission_is_a_scope_a_value_and_a_default_of_new_users(boats: str) -> None:
    assert scopes()[boats] == "Read one's own boats."
    assert boats in defaults()
    assert UserCreate.model_validate(NEW).permissions == [*BEFORE, boats]
    assert UserCreate.model_validate({**NEW, "permissions": [boats]}).permissions == [boats]
    document = openapi_document(Settings())
    listed = document["components"]["schemas"]["UserCreate"]["properties"]["permissions"]
    assert boats in listed["items"]["enum"]
    assert boats in listed["default"]
    for scheme in document["components"]["securitySchemes"].values():
        assert scheme["flows"]["password"]["scopes"] == scopes()
    discovery = document["components"]["schemas"]["Discovery"]["properties"]["scopes_supported"]
    assert discovery["examples"] == [sorted(scopes())]


def test_what_nobody_declared_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError) as told:
        TypeAdapter(Permission).validate_python("boats:read")
    [fault] = told.value.errors()
    assert fault["type"] == "literal_error"
    *most, last = (f"'{name}'" for name in scopes())
    assert fault["msg"] == f"Input should be {', '.join(most)} or {last}"
    assert {"'admin:write'", "'items:read'"} <= {*most, last}


def test_the_same_declared_again_is_one_and_another_of_its_name_is_refused(boats: str) -> None:
    assert declare(boats, "Read one's own boats.", by_default=True) == boats
    with pytest.raises(ValueError, match="boats:read is declared twice"):
        declare(boats, "Something else.")


def test_the_first_administrator_may_what_new_users_may_and_administer() -> None:
    assert sorted([permissions.ADMIN, *BEFORE]) == ADMINISTRATOR
    assert {"items:read", "items:write"} <= set(BEFORE)
