"""What clients send and read about users."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from slipway.auth.permissions import Permission, defaults, with_defaults
from slipway.http.fields import Body, Change, Email, Name
from slipway.sessions.schemas import OpaqueToken, TypedPassword
from slipway.settings import Settings

DisplayName = Annotated[Name, Field(max_length=200, examples=["Ada Lovelace"])]
Password = Annotated[
    SecretStr,
    Field(
        max_length=128,
        # What is enforced is the setting, with a sentence of its own; this is its default.
        json_schema_extra={"minLength": Settings.model_fields["password_min_length"].default},
        description="At least 12 characters, or as many as the service is set to ask for.",
        examples=["correct horse battery staple"],
    ),
]
OwnPassword = Annotated[
    TypedPassword | None, Field(description="One's password; needed to change one's own address, ignored otherwise.")
]


class UserOut(BaseModel):
    """A user as the API shows it; the ETag header carries its version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    display_name: str = Field(examples=["Ada Lovelace"])
    permissions: list[str] = Field(examples=[["items:read", "items:write"]])
    is_active: bool
    pending_email: str | None = Field(
        None, description="The address that was asked for and isn't confirmed yet.", examples=["ada@example.org"]
    )
    created_at: datetime
    updated_at: datetime

    @field_validator("permissions", mode="before")
    @classmethod
    def _in_one_order(cls, value: Collection[str]) -> list[str]:
        # A set's order differs by process, and the same ETag must mean the same bytes.
        return sorted(value)


class UserCreate(Body):
    """A new user."""

    email: Email = Field(examples=["ada@example.com"])
    password: Password
    display_name: DisplayName = ""
    permissions: list[Permission] = Field(default_factory=defaults, max_length=16, json_schema_extra=with_defaults)


class UserReplace(Body):
    """Everything of a user that can be changed. Only administrators change `is_active`; others send what it is."""

    email: Email = Field(examples=["ada@example.com"])
    display_name: DisplayName
    is_active: bool
    current_password: OwnPassword = None


class UserPatch(Change):
    """Only what changes; at least one member."""

    proofs: ClassVar[frozenset[str]] = frozenset({"current_password"})

    email: Email | None = Field(None, examples=["ada@example.com"])
    display_name: DisplayName | None = None
    is_active: bool | None = None
    current_password: OwnPassword = None


class EmailChangeConfirm(Body):
    """The token of the mailed link."""

    token: OpaqueToken


class Permissions(Body):
    """The whole set of a user's permissions."""

    permissions: list[Permission] = Field(max_length=16, examples=[["items:read", "items:write"]])
