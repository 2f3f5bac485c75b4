"""`slipway admin create`, on a database of its own login."""

from __future__ import annotations

import click
from pydantic import TypeAdapter, ValidationError

from slipway.administrators import create_administrator
from slipway.auth.passwords import PasswordHasher
from slipway.http.fields import Email
from slipway.settings import Settings
from slipway.settings.production import is_demo_secret
from slipway.storage.engine import Database
from slipway.storage.login import login_from_settings


async def create(settings: Settings, email: str, password: str) -> None:
    """Make the administrator, or say why not. Raises ValueError and AppException with a sentence for people."""
    if settings.production and is_demo_secret(password):
        raise ValueError("This is a demo password: choose another.")
    try:
        email = TypeAdapter(Email).validate_python(email)
    except ValidationError as error:
        reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise ValueError(f"This is no usable e-mail address: {reason}.") from None
    database = Database(settings, login_from_settings(settings))
    passwords = PasswordHasher(settings)
    try:
        if not await create_administrator(database, passwords, email, password):
            raise ValueError(f"There is a user {email} already.")
    finally:
        await database.close()
    click.echo(f"{email} is an administrator now.")
