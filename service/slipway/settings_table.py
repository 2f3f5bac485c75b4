"""The table of settings that the README shows; made here so that it can't go stale."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from slipway.settings import Settings


def settings_table() -> str:
    """A Markdown table, a row a setting, in the order of `Settings`."""
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `SLIPWAY_{name.upper()}` | {_default(field)} | {meaning}{_choices(field)} |")
    return "\n".join(rows) + "\n"


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
