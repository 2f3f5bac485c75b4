"""Alembic's environment: runs on the connection that the runner hands over, or offline for a plan.

It configures no logging: that is the process's own business.
"""

from __future__ import annotations

from alembic import context

from slipway.migrations.errors import MigrationError


def run() -> None:
    attributes = context.config.attributes
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    elif "connection" in attributes:
        context.configure(
            connection=attributes["connection"],
            transaction_per_migration=True,
            on_version_apply=attributes["on_version_apply"],
        )
    else:
        # Without the runner there is no lock, no ledger and no time limit.
        raise MigrationError("The schema is changed by `slipway db upgrade`, not by Alembic's own command.")
    with context.begin_transaction():
        context.run_migrations()


run()
