"""What OAuth clients expect of an endpoint: forms as RFC 6749 (3.2) reads them, errors as it writes them (5.2).

Such an error has the members of every problem and `error_description`. But its `error` is one of the RFC's words, its
status 400 and its type `application/json`: clients look at these, and some read nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from pydantic import BaseModel
from starlette.datastructures import FormData

from slipway.http.problems import AppException, AuthenticationError, OAuthProblem, ProblemDetail, ValidationError

NOT_STORED: Mapping[str, str] = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""Headers of every reply that carries tokens, or says something about them (RFC 6749, section 5.1)."""


class OAuthError(AppException):
    """Raised only where a client speaks OAuth."""

    status = HTTPStatus.BAD_REQUEST
    model = OAuthProblem
    media_type = "application/json"

    def __init__(self, message: str | None = None, *, details: Sequence[ProblemDetail] = ()) -> None:
        super().__init__(message, details=details, headers=NOT_STORED)


class InvalidRequestError(OAuthError):
    code = "invalid_request"
    default_message = "A parameter is missing, repeated or malformed; `details` says which."


class InvalidGrantError(OAuthError):
    code = "invalid_grant"
    default_message = "This is not valid any more: sign in again."


class InvalidScopeError(OAuthError):
    code = "invalid_scope"
    default_message = "The scope names more than the user may do: leave it out to get all of that."


class UnsupportedGrantTypeError(OAuthError):
    code = "unsupported_grant_type"
    default_message = "The grant_type must be password or refresh_token."


def require_once(form: FormData, known: type[BaseModel]) -> None:
    """Raises InvalidRequestError where a parameter that is looked at was sent twice; others are ignored altogether."""
    repeated = [name for name in known.model_fields if len(form.getlist(name)) > 1]
    if repeated:
        raise InvalidRequestError(
            details=[ProblemDetail(location=f"body.{name}", message="Send it once.") for name in repeated]
        )


def missing(name: str) -> InvalidRequestError:
    return InvalidRequestError(details=[ProblemDetail(location=f"body.{name}", message="Field required")])


@contextmanager
def told_to_oauth_clients() -> Iterator[None]:
    """Refusals within the block are told in OAuth's words. Raises InvalidRequestError and InvalidGrantError."""
    try:
        yield
    except ValidationError as error:
        raise InvalidRequestError(details=error.details) from None
    except AuthenticationError as error:
        raise InvalidGrantError(error.message) from None
