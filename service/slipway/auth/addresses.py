"""The normal form of e-mail addresses: what is one address, however it is written. Pure.

Addresses are kept, shown and written to as they were typed. What they are told apart by is made here and not by
PostgreSQL, whose `lower()` depends on the locale of the database and knows neither the two small sigmas nor domains.
"""

from __future__ import annotations

import re
from contextlib import suppress
from unicodedata import normalize

from pydantic.networks import validate_email
from pydantic_core import PydanticCustomError

LONGEST = 512
"""Characters of a key that count: some letters fold to many, and PostgreSQL's indexes take 2,700 bytes."""

_PUNYCODE = re.compile(r"\bxn--([a-z0-9-]+)")


def address_key(typed: str) -> str:
    """What addresses are told apart by. Any text has such a key, also what is no address.

    A domain is what DNS takes it for: `xn--` or not, in any case; `ß` and `ss` are two there. The part before it is
    folded as `folded` says.
    """
    name, at, domain = as_address(typed).rpartition("@")
    return (f"{folded(name)}@{domain.lower()}" if at else folded(domain))[:LONGEST]


def as_address(typed: str) -> str:
    """The address as fields of type Email read it, with the domain in its own letters; other text as it is."""
    address = typed.strip().rstrip(".")
    with suppress(PydanticCustomError):
        address = validate_email(address)[1]
    return address


def folded(text: str) -> str:
    """Text without differences of case, of composition and of width.

    Upper case first: only then all letters that have one capital come to the same, the two small sigmas, `ß` with
    `ss`, the dotless i of Turkish with the dotted one. Nothing is lost by taking much for one: mail goes to the address
    that is stored, never to the one that was typed.
    """
    return normalize("NFKC", normalize("NFKD", text).upper().casefold()).replace("i\u0307", "i")


def parts_of_keys(typed: str) -> frozenset[str]:
    """What a part of an address may be a part of a key as: before the `@`, behind it, or around it."""
    name, at, domain = typed.strip().rpartition("@")
    behind = _PUNYCODE.sub(_letters, normalize("NFC", domain).lower())
    return frozenset((folded(name) + at + behind,)) if at else frozenset((folded(domain), behind))


def _letters(label: re.Match[str]) -> str:
    try:
        return label[1].encode().decode("punycode")
    except UnicodeError:
        return label[0]
