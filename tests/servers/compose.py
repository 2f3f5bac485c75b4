"""compose.yaml as tests read it: its services, what they mount, and Slipway's as processes of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def composed(text: str | None = None) -> dict[str, Any]:
    """The file with its variables at their defaults."""
    text = (ROOT / "compose.yaml").read_text("utf-8") if text is None else text
    found: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(r"\2", text))
    return found


def mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """What of this checkout a service sees: the path in its container → ours."""
    entries = [entry.split(":") for entry in service.get("volumes", ())]
    return {target: ROOT / source for source, target, *_ in entries if source.startswith(".")}


def environment(service: Mapping[str, Any], replaced: Mapping[str, str], folder: Path) -> dict[str, str]:
    """A service's environment, with texts such as addresses replaced; what it mounts is put below `folder`."""
    for target, source in mounts(service).items():
        copy = folder / target.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    found = {name: str(value) for name, value in service["environment"].items()}
    for name, value in found.items():
        for old, new in {**replaced, "/var/run/secrets": str(folder / "var/run/secrets")}.items():
            value = value.replace(old, new)  # noqa: PLW2901 - one after another
        found[name] = value
    return found
