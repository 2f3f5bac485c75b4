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

NEW = {"email": "ada@example.com", "password": "correct horse battery staple"}


@pytest.fixture
def projects(monkeypatch: pytest.MonkeyPatch) -> str:
    """A permission that a domain of somebody else declares."""
    monkeypatch.setattr(permissions, "_TABLE", dict(permissions._TABLE))  # noqa: SLF001 - undone after the test
    return declare("projects:read", "Read one's own projects.", by_default=True)


def test_a_declared_permission_is_a_scope_a_value_and_a_default_of_new_users(projects: str) -> None:
    assert scopes()[projects] == "Read one's own projects."
    assert projects in defaults()
    assert UserCreate.model_validate(NEW).permissions == ["items:read", "items:write", projects]
    assert UserCreate.model_validate({**NEW, "permissions": [projects]}).permissions == [projects]
    document = openapi_document(Settings())
    listed = document["components"]["schemas"]["UserCreate"]["properties"]["permissions"]
    assert projects in listed["items"]["enum"]
    assert projects in listed["default"]
    for scheme in document["components"]["securitySchemes"].values():
        assert scheme["flows"]["password"]["scopes"] == scopes()
    discovery = document["components"]["schemas"]["Discovery"]["properties"]["scopes_supported"]
    assert discovery["examples"] == [sorted(scopes())]


def test_what_nobody_declared_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError) as told:
        TypeAdapter(Permission).validate_python("projects:read")
    [fault] = told.value.errors()
    assert fault["type"] == "literal_error"
    assert fault["msg"] == "Input should be 'admin:write', 'items:read' or 'items:write'"


def test_the_same_declared_again_is_one_and_another_of_its_name_is_refused(projects: str) -> None:
    assert declare(projects, "Read one's own projects.", by_default=True) == projects
    with pytest.raises(ValueError, match="projects:read is declared twice"):
        declare(projects, "Something else.")


def test_the_first_administrator_may_what_new_users_may_and_administer() -> None:
    assert ADMINISTRATOR == ["admin:write", "items:read", "items:write"]
