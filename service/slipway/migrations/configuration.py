"""Alembic's configuration for the environment of this package."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config

from slipway.migrations.script import ENVIRONMENT


def configuration(versions: Path) -> Config:
    """For the revisions in `versions`."""
    config = Config()
    config.set_main_option("script_location", _escaped(ENVIRONMENT))
    config.set_main_option("version_locations", _escaped(versions))
    config.set_main_option("path_separator", "newline")
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
