"""What mails say. Pure; plain text, so that no value needs escaping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_UNSHOWN = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Template:
    """`subject` is fixed: nothing that a client sent ever becomes part of a header."""

    subject: str
    body: str

    def render(self, values: Mapping[str, object]) -> str:
        """The body; raises KeyError for a value that is missing. Each value becomes a part of one line."""
        shown = {name: _UNSHOWN.sub(" ", str(value)).strip() for name, value in values.items()}
        return self.body.format_map(shown)


def in_words(seconds: int) -> str:
    """How long a link works, in full hours or minutes."""
    minutes = seconds // 60
    if minutes > 60 and minutes % 60 == 0:  # noqa: PLR2004 - an hour
        return f"{minutes // 60} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


WELCOME = Template(
    "Welcome to Slipway",
    "{greeting},\n\nan account was made for you. Sign in with this e-mail address.\n",
)

PASSWORD_RESET = Template(
    "Your new password",
    "Hello,\n\nsomebody, probably you, asked for a new password. Choose it here, within {lasting}:\n\n"
    "{link}\n\nIf it wasn't you, there is nothing to do: your password stays as it is.\n",
)

EMAIL_CHANGED = Template(
    "Your address was changed",
    "Hello,\n\nthe account that had this e-mail address has another one now. You sign in with that from now on.\n\n"
    "If that wasn't you, tell whoever runs this service at once.\n",
)

EMAIL_CHANGE_ASKED = Template(
    "A new address for your account",
    "Hello,\n\nsomebody who knows your password asked for another e-mail address for your account. It stays as it is "
    "until the link that was sent there is opened.\n\n"
    "If that wasn't you, change your password at once, or ask for a new one: that link is dead then.\n",
)

EMAIL_CHANGE = Template(
    "Confirm your new address",
    "Hello,\n\nsomebody, probably you, wants this e-mail address for their account. {how}, within {lasting}:\n\n"
    "{link}\n\nIf it wasn't you, there is nothing to do: nobody gets your address.\n",
)
EMAIL_CHANGE_BY_LINK = "Confirm it here"
EMAIL_CHANGE_BY_TOKEN = "Confirm it with this code"  # noqa: S105 - it isn't one

EMAIL_TAKEN = Template(
    "Your address was asked for",
    "Hello,\n\nsomebody asked to have your e-mail address for another account of this service. It stays yours, and "
    "they weren't told that it is.\n\nIf that was you: sign in with it, or give this account another address first.\n",
)
