"""Which build of the service this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def service_version() -> str:
    """The installed version; `unknown` when run from files that nobody installed."""
    try:
        return version("slipway")
    except PackageNotFoundError:
        return "unknown"
