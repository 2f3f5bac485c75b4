"""What can be measured about jobs."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from slipway.telemetry.registry import REGISTRY

JOBS = Counter(
    "slipway_jobs_total", "Runs of jobs by how they ended: done, retried, dead.", ("name", "result"), registry=REGISTRY
)
DURATION = Histogram(
    "slipway_job_duration_seconds",
    "How long a run of a job took.",
    ("name",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)
WAITING = Gauge("slipway_jobs_waiting", "Jobs that are due and wait for a worker, up to 10000.", registry=REGISTRY)
OLDEST = Gauge(
    "slipway_jobs_oldest_seconds", "How long the job that is due the longest has waited; 0 for none.", registry=REGISTRY
)
DEAD = Gauge("slipway_jobs_dead", "Jobs that were given up, up to 10000.", registry=REGISTRY)
DATABASE_ERRORS = Counter(
    "slipway_worker_database_errors_total", "Times that the worker couldn't reach its database.", registry=REGISTRY
)
