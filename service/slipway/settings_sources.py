"""Where the settings' values come from: `SLIPWAY_*` variables and secret files; nothing else reads the environment.

`load_settings()` lists every fault at once, so that a bad deployment is mended in one go.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from slipway.settings import Settings
from slipway.settings_production import production_faults


class SettingsError(Exception):
    """The environment doesn't make a service; `faults` holds a sentence for each reason."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("The settings are not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


def _environment_name(location: tuple[int | str, ...]) -> str:
    return "SLIPWAY_" + "_".join(str(part) for part in location).upper()


def _from_secret_files(faults: list[str]) -> dict[str, object]:
    """Values by field from the files of SLIPWAY_SECRETS_DIR, but for those that the environment has; adds to `faults`.

    Hidden files are left alone (a mounted Secret has some), and so is what isn't named like a setting of ours.
    """
    folder = os.environ.get("SLIPWAY_SECRETS_DIR")
    if not folder:
        return {}
    try:
        files = [path for path in sorted(Path(folder).iterdir()) if path.name.lower().startswith("slipway_")]
    except OSError:
        faults.append("SLIPWAY_SECRETS_DIR names no folder that can be read: mount the Secret there, or unset it.")
        return {}
    values: dict[str, object] = {}
    for path in files:
        name = path.name.lower().removeprefix("slipway_")
        if name not in Settings.model_fields:
            faults.append(f"{path.name} in SLIPWAY_SECRETS_DIR is no setting: see `slipway settings` for their names.")
        elif f"SLIPWAY_{name.upper()}" not in os.environ:
            try:
                values[name] = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                faults.append(f"{path.name} in SLIPWAY_SECRETS_DIR can't be read as text.")
    return values


def load_settings(**changes: object) -> Settings:
    """Read the environment; raises SettingsError with every fault at once, never repeating a secret's value."""
    faults: list[str] = []
    given = _from_secret_files(faults) | changes
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        malformed = error.errors(include_input=False, include_url=False)
        faults.extend(f"{_environment_name(fault['loc'])}: {fault['msg']}" for fault in malformed)
        settings = _readable_rest({str(fault["loc"][0]) for fault in malformed if fault["loc"]}, given)
    if settings.production:
        faults.extend(production_faults(settings))
    if faults:
        raise SettingsError(faults)
    return settings


def _readable_rest(broken: set[str], given: dict[str, object]) -> Settings:
    """The settings that are fine by themselves, so that production faults are listed beside malformed values."""
    masked = {f"SLIPWAY_{name.upper()}" for name in broken}
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.upper() in masked}
    try:
        return Settings(**{k: v for k, v in given.items() if k not in broken})  # type: ignore[arg-type]
    except ValidationError:
        return Settings.model_construct()
    finally:
        os.environ.update(saved)
