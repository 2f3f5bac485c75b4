"""What the service's role may do: read and write rows, only add them to the audit log, and nothing that is DDL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from slipway.migrations.errors import MigrationError
from slipway.migrations.ledger import LEDGER_TABLE, VERSION_TABLE

READ_ONLY = (VERSION_TABLE, LEDGER_TABLE)
"""Tables that the service reads at its gate and must never write."""

APPEND_ONLY = ("audit",)
"""Tables that the service adds rows to; none of them is changed or deleted, but by a function of the owner's."""

CALLED = ("purge_audit",)
"""Functions of the owner's that the service may call; they run with the owner's rights."""


@dataclass(frozen=True, slots=True)
class Grantable:
    """What the owner can give away in its schema. Names are quoted as SQL identifiers."""

    schema: str
    tables: tuple[str, ...]
    sequences: tuple[str, ...]
    functions: tuple[str, ...] = ()


def grant_statements(role: str, found: Grantable) -> tuple[str, ...]:
    """The statements that give `role` (a quoted identifier) its rights; running them twice changes nothing.

    The default privileges come first: a table made by a later revision is the service's to use from the moment it is
    there, not only once the whole upgrade is done.
    """
    written = [table for table in found.tables if table not in (*READ_ONLY, *APPEND_ONLY)]
    read = [table for table in found.tables if table in READ_ONLY]
    appended = [table for table in found.tables if table in APPEND_ONLY]
    statements = [
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {found.schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {found.schema} GRANT USAGE ON SEQUENCES TO {role}",
        f"GRANT USAGE ON SCHEMA {found.schema} TO {role}",
    ]
    if written:
        statements.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {_listed(found.schema, written)} TO {role}")
    for tables, rights in ((read, "SELECT"), (appended, "SELECT, INSERT")):
        if tables:
            statements.append(f"REVOKE ALL ON {_listed(found.schema, tables)} FROM {role}")
            statements.append(f"GRANT {rights} ON {_listed(found.schema, tables)} TO {role}")
    if found.sequences:
        statements.append(f"GRANT USAGE ON SEQUENCE {_listed(found.schema, found.sequences)} TO {role}")
    if found.functions:
        statements.append(f"GRANT EXECUTE ON FUNCTION {_listed(found.schema, found.functions)} TO {role}")
    return tuple(statements)


def _listed(schema: str, names: Sequence[str]) -> str:
    return ", ".join(f"{schema}.{name}" for name in names)


async def read_grantable(raw: asyncpg.Connection) -> Grantable:
    """What this login owns in the current schema (extensions' own is left alone); of functions only those CALLED."""
    rows = await raw.fetch(
        "SELECT quote_ident(relname) AS name, relkind = 'S' AS is_sequence FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        " AND pg_has_role(relowner, 'USAGE') ORDER BY relname"
    )
    return Grantable(
        schema=await raw.fetchval("SELECT quote_ident(current_schema())"),
        tables=tuple(row["name"] for row in rows if not row["is_sequence"]),
        sequences=tuple(row["name"] for row in rows if row["is_sequence"]),
        functions=tuple(
            await raw.fetchval(
                "SELECT coalesce(array_agg(quote_ident(proname) ORDER BY proname), '{}') FROM pg_proc"
                " WHERE pronamespace = current_schema()::regnamespace AND proname = ANY($1::text[])"
                " AND pg_has_role(proowner, 'USAGE')",
                list(CALLED),
            )
        ),
    )


async def check_role(raw: asyncpg.Connection, role: str) -> str:
    """The role's quoted name. Raises MigrationError when it doesn't exist or could change the schema after all."""
    known = await raw.fetchrow(
        "SELECT quote_ident(rolname) AS quoted, pg_has_role(rolname, current_user, 'MEMBER') AS is_owner,"
        " has_schema_privilege(rolname, current_schema(), 'CREATE') AS creates, quote_ident(current_schema()) AS schema"
        " FROM pg_roles WHERE rolname = $1",
        role,
    )
    if known is None:
        raise MigrationError(
            f"The role {role!r} (SLIPWAY_DATABASE_GRANT_TO) doesn't exist: make it with "
            f"CREATE ROLE {role} LOGIN PASSWORD '…', or correct the setting.",
            reason="RoleUnfit",
        )
    if known["is_owner"]:
        raise MigrationError(
            f"SLIPWAY_DATABASE_GRANT_TO names {role!r}, which has the rights of the schema's owner: "
            "the service needs a role of its own that can't change the schema.",
            reason="RoleUnfit",
        )
    if known["creates"]:
        raise MigrationError(
            f"The role {role!r} may create tables in schema {known['schema']}: take that right away with "
            f"REVOKE CREATE ON SCHEMA {known['schema']} FROM PUBLIC, {known['quoted']}.",
            reason="RoleUnfit",
        )
    quoted: str = known["quoted"]
    return quoted


async def grant(raw: asyncpg.Connection, role: str) -> None:
    """Give `role` the service's rights on what is there and on what this login makes later, in one transaction."""
    quoted = await check_role(raw, role)
    async with raw.transaction():
        for statement in grant_statements(quoted, await read_grantable(raw)):
            await raw.execute(statement)
