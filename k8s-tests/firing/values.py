"""Values of the watched release: small, and with alerts that don't wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from load.installed import CHART, values

ALERTS = Path(CHART) / "values.yaml"
SOON = "3s"
"""`for` of every alert here."""
THRESHOLDS = {"SlipwayJobsLate": 5, "SlipwayKeyOverdue": 2, "SlipwayRestarts": 1}
"""Of those whose shipped one takes minutes to reach: seconds; times."""
LEAST_FAILURES = 3
RING = {"tokenLifetime": "8s", "leeway": "1s", "validatorCache": "3s", "propagation": "4s", "rotateEvery": "720h"}
ENVIRONMENT = {
    "SLIPWAY_RATE_LIMIT": "1000000",
    "SLIPWAY_DATABASE_POOL_TIMEOUT": "1",
    "SLIPWAY_ACCESS_TOKEN_TTL": "8",
    "SLIPWAY_TOKEN_LEEWAY": "1",
}


def watched(image: str, **environment: str) -> dict[str, Any]:
    """Values of a release of that image; `environment` goes on top of its settings."""
    settings = {**ENVIRONMENT, **environment}
    return values(
        image,
        replicas=1,
        keyRing=RING,
        database={"poolSize": 2, "maxOverflow": 2},
        extraEnv=[{"name": name, "value": value} for name, value in settings.items()],
        metrics={"prometheusRule": {"leastFailures": LEAST_FAILURES, "alerts": _soon()}},
    )


def _soon() -> dict[str, Any]:
    """Every alert's settings as shipped, but for how long they wait, and those thresholds."""
    shipped = yaml.safe_load(ALERTS.read_text("utf-8"))["metrics"]["prometheusRule"]["alerts"]
    changed = {name: {"threshold": threshold} for name, threshold in THRESHOLDS.items()}
    return {name: {**settings, "for": SOON, **changed.get(name, {})} for name, settings in shipped.items()}
