"""The settings as the README's table and as `.env.example`; made here so that neither can go stale."""

from __future__ import annotations

import textwrap
import typing
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from slipway.settings import Settings


def settings_table(kind: type[Settings]) -> str:
    """A Markdown table, a row a setting, in their order."""
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, field in kind.model_fields.items():
        meaning = _meaning(field).replace("|", "\\|")
        rows.append(f"| `SLIPWAY_{name.upper()}` | {_default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


_BOUNDS = {"gt": "more than", "ge": "at least", "le": "at most"}

HEAD = """\
# Settings for development: copy this to `.env`, and take the `#` away where you want another value.
# Made by `make env`. The environment goes before a `.env`, and production doesn't read one. Values are taken as they
# are written: what has spaces or a `#` goes in quotes, and nothing is put in for `$NAME`.
"""


def env_example(kind: type[Settings]) -> str:
    """A `.env` in their order, every line commented out: meanings after `# `, settings after `#`."""
    parts = [HEAD]
    for name, field in kind.model_fields.items():
        meaning = textwrap.fill(_meaning(field), 110, break_on_hyphens=False)
        default = _default(field).strip("`")
        value = "" if default == "none" else default
        parts.append(f"{textwrap.indent(meaning, '# ')}\n#SLIPWAY_{name.upper()}={value}\n")
    return "\n".join(parts)


def _meaning(field: FieldInfo) -> str:
    return (field.description or "") + _choices(field) + _bounds(field)


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return "`…`" if isinstance(value, SecretStr) else f"`{value}`"


def _choices(field: FieldInfo) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) is not typing.Literal:
        return ""
    return " One of " + ", ".join(f"`{choice}`" for choice in typing.get_args(annotation)) + "."


def _bounds(field: FieldInfo) -> str:
    """Least and greatest values, as people say them."""
    bounds = [(word, getattr(each, name, None)) for each in field.metadata for name, word in _BOUNDS.items()]
    words = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return f" {', '.join(words).capitalize()}." if words else ""
