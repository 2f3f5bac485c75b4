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


WELCOME = Template(
    "Welcome to Slipway",
    "{greeting},\n\nan account was made for you. Sign in with this e-mail address.\n",
)

PASSWORD_RESET = Template(
    "Your new password",
    "Hello,\n\nsomebody, probably you, asked for a new password. Choose it here, within {minutes} minutes:\n\n"
    "{link}\n\nIf it wasn't you, there is nothing to do: your password stays as it is.\n",
)

EMAIL_CHANGED = Template(
    "Your address was changed",
    "Hello,\n\nthe account that had this e-mail address has another one now. You sign in with that from now on.\n\n"
    "If that wasn't you, tell whoever runs this service at once.\n",
)
