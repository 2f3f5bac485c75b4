"""Every job by its name; the one place where a worker's parts come together."""

from __future__ import annotations

from functools import partial

import slipway.jobs.periodic
import slipway.mail.job
from slipway.domains import DOMAINS
from slipway.jobs.expiries import Expiry
from slipway.jobs.kinds import Kind
from slipway.jobs.periodic import Purge
from slipway.jobs.worker import Worker
from slipway.mail.job import MailJob
from slipway.mail.mailer import mailer_for
from slipway.sessions.service import new_reset_link
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.users import email_changes

EXPIRIES = (
    Expiry("idempotency_keys", "expires_at", "expires_at < now()"),
    *(expiry for domain in DOMAINS for expiry in domain.expiries),
)
"""What is purged."""


def job_kinds(settings: Settings, database: Database) -> dict[str, Kind]:
    """What a worker of this release can do. Raises ValueError or OSError for unusable mail settings."""
    mail = MailJob(
        settings,
        mailer_for(settings),
        partial(new_reset_link, database, settings),
        partial(email_changes.new_link, database, settings),
    )
    purge = Purge(settings, database, EXPIRIES)
    return {
        **dict.fromkeys(slipway.mail.job.JOBS, Kind(mail.run)),
        slipway.jobs.periodic.JOB: Kind(purge.run, every=settings.purge_interval),
        **{name: kind for domain in DOMAINS for name, kind in domain.kinds(settings, database).items()},
    }


def make_worker(settings: Settings, database: Database) -> Worker:
    """A worker for everything; the caller runs it and closes the database after it."""
    return Worker(settings, database, job_kinds(settings, database))
