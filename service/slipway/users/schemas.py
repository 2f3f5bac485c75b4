"""What clients send and read about users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from slipway.fields import CleanText, Email

Permission = Literal["admin:write", "items:read", "items:write"]
DEFAULT_PERMISSIONS: tuple[Permission, ...] = ("items:read", "items:write")

DisplayName = Annotated[CleanText, Field(max_length=200, examples=["Ada Lovelace"])]
Password = Annotated[SecretStr, Field(min_length=8, max_length=128, examples=["correct horse battery staple"])]


class UserOut(BaseModel):
    """A user as the API shows it; the ETag header carries its version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    display_name: str = Field(examples=["Ada Lovelace"])
    permissions: list[str] = Field(examples=[["items:read", "items:write"]])
    is_active: bool
    created_at: datetime
    updated_at: datetime


class UserCreate(BaseModel):
    """A new user."""

    model_config = ConfigDict(extra="forbid")

    email: Email = Field(examples=["ada@example.com"])
    password: Password
    display_name: DisplayName = ""
    permissions: list[Permission] = Field(list(DEFAULT_PERMISSIONS), max_length=16)


class UserReplace(BaseModel):
    """Everything of a user that can be changed; `is_active` only by administrators."""

    model_config = ConfigDict(extra="forbid")

    email: Email = Field(examples=["ada@example.com"])
    display_name: DisplayName
    is_active: bool = True


class UserPatch(BaseModel):
    """Only what changes; at least one member."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    email: Email | None = Field(None, examples=["ada@example.com"])
    display_name: DisplayName | None = None
    is_active: bool | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> UserPatch:
        if all(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("name at least one member to change; none of them can be null")
        return self


class Permissions(BaseModel):
    """The whole set of a user's permissions."""

    model_config = ConfigDict(extra="forbid")

    permissions: list[Permission] = Field(max_length=16, examples=[["items:read", "items:write"]])
