"""Kubernetes' timestamps as seconds since the epoch, and back."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC; a fraction is kept to the microsecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds" if moment.microsecond else "seconds") + "Z"


def seconds(stamp: str | None, otherwise: float = 0.0) -> float:
    """What an API server writes; `otherwise` for none. Raises ValueError for what is no timestamp."""
    return datetime.fromisoformat(stamp).timestamp() if stamp else otherwise
