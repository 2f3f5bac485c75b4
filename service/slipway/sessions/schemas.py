"""What clients send and read about sessions and passwords."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from slipway.auth.permissions import with_scopes
from slipway.http.fields import CleanText, Email

TypedPassword = Annotated[SecretStr, Field(min_length=1, max_length=512, examples=["correct horse battery staple"])]
"""A password as typed; what a new one must be like is checked with a sentence of its own."""

OpaqueToken = Annotated[SecretStr, Field(min_length=1, max_length=128, examples=["yGk4…"])]


def _omitted(value: object) -> object:
    return None if value == "" else value


FormText = Annotated[str | None, BeforeValidator(_omitted)]
FormSecret = Annotated[SecretStr | None, BeforeValidator(_omitted)]
"""A parameter sent without a value is one that wasn't sent (RFC 6749, section 3.2)."""


class TokenForm(BaseModel):
    """The password and refresh token grants of OAuth 2.0, as a form. Other fields that clients send are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"grant_type": "password", "username": "ada@example.com", "password": "correct horse battery staple"},
                {"grant_type": "refresh_token", "refresh_token": "yGk4…"},
            ]
        }
    )

    grant_type: FormText = Field(
        None,
        description="`password` or `refresh_token`. Without it this is a sign-in whose errors are told as everywhere "
        "else in this API, and not in OAuth's words.",
        examples=["password"],
    )
    username: FormText = Field(None, description="The e-mail address.", examples=["ada@example.com"])
    password: FormSecret = Field(None, examples=["correct horse battery staple"])
    refresh_token: FormSecret = Field(None, description="For one use.", examples=["yGk4…"])
    scope: FormText = Field(
        None,
        description="Of a refresh: what of that which the user may do its access token shall permit. Ignored at "
        "sign-in: the token carries all of it. The reply's `scope` says what was granted.",
        examples=["items:read"],
    )


class SignInForm(BaseModel):
    """What signing in needs of the form."""

    username: Annotated[CleanText, Field(min_length=1, max_length=254)]
    password: TypedPassword


class RevokeForm(BaseModel):
    """What OAuth clients send to have a token revoked (RFC 7009)."""

    token: FormSecret = Field(None, description="An access token or a refresh token.", examples=["yGk4…"])
    token_type_hint: FormText = Field(
        None, description="Ignored: what kind of token it is can be seen.", examples=["refresh_token"]
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
    revocation_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]
    scopes_supported: list[str] = Field(json_schema_extra=with_scopes)
    claims_supported: list[str]
