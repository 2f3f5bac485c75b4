"""What the operator asks PostgreSQL's catalogs."""

from __future__ import annotations

GRANTS_HAVE_OPTIONS = 16
"""Major version since which a membership says whether it inherits and may be set, and ADMIN is needed to grant."""

ROLE = """
SELECT role.rolsuper, role.rolcreaterole, role.rolcreatedb, role.rolreplication, role.rolbypassrls,
       role.rolcanlogin, role.rolinherit, role.rolconnlimit, role.rolconfig,
       coalesce(role.rolvaliduntil <> 'infinity', false) AS ends,
       pg_catalog.shobj_description(role.oid, 'pg_authid') AS comment,
       count(grant_.member) > 0 AS member,
       coalesce(bool_or(coalesce((to_jsonb(grant_) ->> 'inherit_option')::boolean, true)
                    AND coalesce((to_jsonb(grant_) ->> 'set_option')::boolean, true)), false) AS whole
FROM pg_catalog.pg_roles AS role
LEFT JOIN pg_catalog.pg_roles AS parent ON parent.rolname = $2
LEFT JOIN pg_catalog.pg_auth_members AS grant_ ON grant_.member = role.oid AND grant_.roleid = parent.oid
WHERE role.rolname = $1
GROUP BY role.oid, role.rolsuper, role.rolcreaterole, role.rolcreatedb, role.rolreplication, role.rolbypassrls,
         role.rolcanlogin, role.rolinherit, role.rolconnlimit, role.rolconfig, role.rolvaliduntil
"""
"""Of role $1, with its membership in role $2."""

STRONG_GROUPS = """
SELECT other.rolname
FROM pg_catalog.pg_roles AS other
WHERE other.rolname <> $1
  AND pg_catalog.pg_has_role($1, other.oid, 'MEMBER')
  AND (other.rolsuper OR other.rolcreaterole OR other.rolcreatedb OR other.rolreplication OR other.rolbypassrls
       -- Whoever owns the database is in pg_database_owner without anybody's grant.
       OR (other.rolname LIKE 'pg\\_%' AND other.rolname <> 'pg_database_owner'))
ORDER BY other.rolname
"""
"""Roles with rights beyond a service's that role $1 is in, through others too."""

TELLS_SERVER = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"

SERVER = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"
"""Which server it is, whatever its address: a promoted standby is the same."""

OBJECT_ID = "SELECT 'oid-' || oid FROM pg_catalog.pg_database WHERE datname = current_database()"
"""Where a provider keeps that to itself; it tells servers apart, if not for certain."""

ADMIN = "SELECT rolsuper, rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"

MAY_GRANT = "SELECT pg_catalog.pg_has_role($1, 'MEMBER WITH ADMIN OPTION')"

SEES = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR pg_catalog.pg_has_role($1, 'USAGE')"

SESSIONS = """
SELECT pid, usename, application_name, state, extract(epoch FROM backend_start)::float8 AS started
FROM (
    SELECT *, row_number() OVER (PARTITION BY usename ORDER BY backend_start NULLS FIRST, pid) AS place
    FROM pg_catalog.pg_stat_activity
    WHERE usename = ANY($1::name[])
) AS placed
WHERE place <= $2
ORDER BY backend_start NULLS FIRST, pid
"""
"""The $2 oldest of each role: however many one has, the other never looks idle for it."""

LOCK = """
SELECT pg_catalog.set_config('statement_timeout', $2, true),
       pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))
"""
"""Until the transaction ends; `lock_timeout` holds for it, too. $2: how long each statement after it may take."""
