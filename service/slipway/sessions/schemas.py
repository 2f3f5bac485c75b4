"""What clients send and read about sessions and passwords."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from slipway.fields import CleanText, Email

TypedPassword = Annotated[SecretStr, Field(min_length=1, max_length=512, examples=["correct horse battery staple"])]
"""A password as typed; what a new one must be like is checked with a sentence of its own."""

OpaqueToken = Annotated[SecretStr, Field(min_length=1, max_length=128, examples=["yGk4…"])]


class SignInForm(BaseModel):
    """The password grant of OAuth 2.0, as a form. Other fields that OAuth clients send are ignored."""

    grant_type: Literal["password"] = "password"
    username: Annotated[CleanText, Field(min_length=1, max_length=254, description="The e-mail address.")] = Field(
        examples=["ada@example.com"]
    )
    password: TypedPassword
    scope: Annotated[str, Field(max_length=1024)] = Field(
        "", description="Ignored: the token carries what the user may do; the reply's `scope` says what."
    )


class TokenReply(BaseModel):
    """A new access token, and the refresh token that gets the next one."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.", examples=["eyJhbGciOiJFZERTQSIs…"])
    refresh_token: str = Field(description="For one use, at `/api/v1/auth/refresh`.", examples=["yGk4…"])
    token_type: Literal["bearer"] = Field("bearer", description="How the access token is sent.")
    expires_in: int = Field(description="Seconds until the access token ends.", examples=[900])
    scope: str = Field(description="What it permits, separated by spaces.", examples=["items:read items:write"])


class RefreshRequest(BaseModel):
    """A refresh token to be used."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: OpaqueToken


class SessionOut(BaseModel):
    """A device that is signed in."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime = Field(description="When it was last refreshed.")
    expires_at: datetime = Field(description="When it ends if it isn't refreshed.")
    user_agent: str = Field(examples=["curl/8.9"])
    address: str = Field(examples=["192.0.2.7"])
    current: bool = Field(description="Whether this request belongs to it.")


class PasswordChange(BaseModel):
    """The password that is, and the one that shall be."""

    model_config = ConfigDict(extra="forbid")

    current_password: TypedPassword
    new_password: TypedPassword


class PasswordResetRequest(BaseModel):
    """Who forgot their password."""

    model_config = ConfigDict(extra="forbid")

    email: Email = Field(examples=["ada@example.com"])


class PasswordResetConfirm(BaseModel):
    """The token of the mailed link, and a new password."""

    model_config = ConfigDict(extra="forbid")

    token: OpaqueToken
    new_password: TypedPassword


class Accepted(BaseModel):
    """Said to everybody, so that nobody learns who has an account."""

    message: str = Field(examples=["If that is the address of an account, a mail is on its way."])


class Discovery(BaseModel):
    """OpenID Provider metadata: as much as checking our tokens needs. There is no browser sign-in here."""

    issuer: str = Field(examples=["https://api.example.com"])
    jwks_uri: str
    token_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    scopes_supported: list[str]
    claims_supported: list[str]
