"""Every job by its name; the one place where a worker's parts come together."""

from __future__ import annotations

from functools import partial

import slipway.exports.service
import slipway.jobs.periodic
import slipway.mail.job
import slipway.users.keys
from slipway.exports.job import ExportJob
from slipway.jobs.kinds import Kind
from slipway.jobs.periodic import Purge
from slipway.jobs.worker import Worker
from slipway.mail.job import MailJob
from slipway.mail.mailer import mailer_for
from slipway.sessions.service import new_reset_link
from slipway.settings import Settings
from slipway.storage.engine import Database
from slipway.users import email_changes
from slipway.users.keys import KeyAddresses


def job_kinds(settings: Settings, database: Database) -> dict[str, Kind]:
    """What a worker of this release can do. Raises ValueError or OSError for unusable mail settings."""
    mail = MailJob(
        settings,
        mailer_for(settings),
        partial(new_reset_link, database, settings),
        partial(email_changes.new_link, database, settings),
    )
    return {
        **dict.fromkeys(slipway.mail.job.JOBS, Kind(mail.run)),
        slipway.exports.service.JOB: ExportJob(database).kind,
        slipway.users.keys.JOB: Kind(KeyAddresses(database).run, every=settings.purge_interval),
        slipway.jobs.periodic.JOB: Kind(Purge(settings, database).run, every=settings.purge_interval),
    }


def make_worker(settings: Settings, database: Database) -> Worker:
    """A worker for everything; the caller runs it and closes the database after it."""
    return Worker(settings, database, job_kinds(settings, database))
