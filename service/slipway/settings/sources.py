"""Where the settings' values come from: `SLIPWAY_*` variables, a `.env` in development, secret files; in that order.

Nothing else reads the environment. `load_settings()` lists every fault at once, so that a bad deployment is mended in
one go.
"""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import TypeVar, cast

from dotenv.parser import Binding, parse_stream
from pydantic import ValidationError

from slipway.settings import Settings
from slipway.settings.cors import cors_faults
from slipway.settings.production import production_faults
from slipway.settings.times import time_faults
from slipway.settings.urls import url_faults

S = TypeVar("S", bound=Settings)

PREFIX = "SLIPWAY_"
OPERATORS = "SLIPWAY_OPERATOR_"
"""Variables of the operator, which may stand in the same file."""

ENV_FILE = Path(".env")
"""Of the working directory; read in development only."""

logger = logging.getLogger("slipway.settings")


class SettingsError(Exception):
    """The environment doesn't make a service; `faults` holds a sentence for each reason."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("The settings are not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


def load_settings(kind: type[S], /, **changes: object) -> S:
    """Read the environment; raises SettingsError with every fault at once, never repeating a secret's value.

    A name that is no setting is a fault too, but for `Settings` themselves: they don't know what domains have.
    """
    faults: list[str] = []
    told = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    written = {} if _is_production(told) else _from_env_file(kind, faults)
    folder = (written | told).get("SLIPWAY_SECRETS_DIR")
    filed = _from_secret_files(kind, folder, frozenset(told | written), faults) if folder else {}
    given = {_field(name): value for name, value in (filed | written).items() if name not in told} | changes
    try:
        settings = kind(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        malformed = error.errors(include_input=False, include_url=False)
        faults.extend(f"{_environment_name(fault['loc'])}: {fault['msg']}" for fault in malformed)
        settings = _readable_rest(kind, {str(fault["loc"][0]) for fault in malformed if fault["loc"]}, given)
    if settings.production:
        faults.extend(production_faults(settings))
        if written:
            faults.append(
                "Production doesn't read a .env, and one was read: set SLIPWAY_ENVIRONMENT=production in the "
                "environment itself, and what else the .env says."
            )
    faults.extend([*time_faults(settings), *cors_faults(settings), *url_faults(settings), *settings.faults()])
    if faults:
        raise SettingsError(faults)
    return settings


def tell_of_unread_env_file(settings: Settings) -> None:
    """Log that production leaves a `.env` alone, where one lies; once logs go where they belong."""
    if settings.production and ENV_FILE.is_file():
        logger.warning("The .env in the working directory isn't read in production: set variables, or mount files.")


def _is_production(told: dict[str, str]) -> bool:
    # As `Settings` will understand it: the environment alone decides whether a `.env` is read at all.
    return told.get("SLIPWAY_ENVIRONMENT") == "production"


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _environment_name(location: tuple[int | str, ...]) -> str:
    return PREFIX + "_".join(str(part) for part in location).upper()


def _from_env_file(kind: type[Settings], faults: list[str]) -> dict[str, str]:
    """Values by variable from the `.env`, if there is one; adds to `faults`, by line and never by value.

    Variables of other programs are left alone.
    """
    try:
        text = ENV_FILE.read_bytes().decode("utf-8-sig") if ENV_FILE.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f".env can't be read as text ({type(error).__name__}).")
        return {}
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        name = (binding.key or "").upper()
        if binding.error or (name and binding.value is None):
            faults.append(
                f"Line {_line(binding)} of .env is no NAME=value; what has spaces or quotes is put in quotes."
            )
        elif name.startswith(PREFIX) and not name.startswith(OPERATORS):
            if _field(name) in kind.model_fields:
                values[name] = binding.value or ""
            elif kind is not Settings:
                faults.append(f"{name} on line {_line(binding)} of .env is no setting: see `slipway settings`.")
    return values


def _line(binding: Binding) -> int:
    """Where it stands; the parser counts blank lines before it in."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _from_secret_files(kind: type[Settings], folder: str, told: frozenset[str], faults: list[str]) -> dict[str, str]:
    """Values by variable from the files of SLIPWAY_SECRETS_DIR, but for those that were `told`; adds to `faults`.

    Hidden files are left alone (a mounted Secret has some), and so is what isn't named like a setting of ours.
    """
    try:
        files = [path for path in sorted(Path(folder).iterdir()) if path.name.upper().startswith(PREFIX)]
    except OSError:
        faults.append("SLIPWAY_SECRETS_DIR names no folder that can be read: mount the Secret there, or unset it.")
        return {}
    values: dict[str, str] = {}
    for path in files:
        name = path.name.upper()
        if _field(name) not in kind.model_fields:
            if kind is not Settings:
                faults.append(
                    f"{path.name} in SLIPWAY_SECRETS_DIR is no setting: see `slipway settings` for their names."
                )
        elif name not in told:
            try:
                values[name] = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                faults.append(f"{path.name} in SLIPWAY_SECRETS_DIR can't be read as text.")
    return values


def _readable_rest(kind: type[S], broken: set[str], given: dict[str, object]) -> S:
    """The settings that are fine by themselves, so that production faults are listed beside malformed values."""
    masked = {_environment_name((name,)) for name in broken}
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.upper() in masked}
    try:
        return kind(**{k: v for k, v in given.items() if k not in broken})  # type: ignore[arg-type]
    except ValidationError:
        return cast("S", kind.model_construct())
    finally:
        os.environ.update(saved)
