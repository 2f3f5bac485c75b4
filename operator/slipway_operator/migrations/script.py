"""The script for images with plain Alembic: files that lie beside each other in one ConfigMap, never run in here."""

from __future__ import annotations

from importlib.resources import files

SCRIPT_FILE = "plain_alembic.py"
"""What is run; it finds the other files beside it."""


def script_files() -> dict[str, str]:
    """Name and text of each."""
    folder = files("slipway_operator.migrations").joinpath("plain_alembic")
    # The package is compiled in the operator's image, so there may be a folder of bytecode, too.
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".py")}
