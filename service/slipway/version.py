"""The release, as the package's metadata names it."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("slipway")
