"""Who did what, and when: a row for each write that was committed, in its own transaction.

The service may read and add rows, and do nothing else with them, whatever rights it is given: only the table's owner
gets past its trigger. What is old is deleted by a function of the owner's, which leaves alone whatever is younger than
its floor, however it is called.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    """
    CREATE TABLE audit (
        attempt uuid PRIMARY KEY,
        kind text NOT NULL CONSTRAINT audit_kind_check CHECK (kind IN ('work', 'given up')),
        action text CHECK (char_length(action) <= 64),
        resource text CHECK (char_length(resource) <= 100),
        actor uuid,
        session uuid,
        address inet,
        request_id text CHECK (char_length(request_id) <= 128),
        -- Not now(): that is when the work began, and a row would come in behind others that were read already.
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # No foreign keys: what was done stays known when those who did it, and what they did it to, are gone.
    "CREATE INDEX audit_at_idx ON audit (at)",
    # As the list asks for it (audit/queries.py), so that who looks for something isn't served by the index of times.
    "CREATE INDEX audit_actor_idx ON audit (actor, at DESC NULLS LAST)",
    "CREATE INDEX audit_action_idx ON audit (action, at DESC NULLS LAST)",
    "CREATE INDEX audit_resource_idx ON audit (resource, at DESC NULLS LAST)",
    "CREATE INDEX audit_request_id_idx ON audit (request_id, at DESC NULLS LAST)",
    # Default privileges have just given the service all rights on it.
    """
    DO $$
    DECLARE grantee text;
    BEGIN
        FOR grantee IN
            SELECT DISTINCT acl.grantee::regrole::text FROM pg_class, aclexplode(relacl) AS acl
            WHERE pg_class.oid = 'audit'::regclass AND acl.grantee NOT IN (0, relowner)
        LOOP
            EXECUTE 'REVOKE UPDATE, DELETE ON audit FROM ' || grantee;
        END LOOP;
    END
    $$
    """,
    """
    CREATE FUNCTION purge_audit(older_than interval, batch integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    AS $$
        WITH gone AS (
            DELETE FROM audit WHERE attempt = ANY (ARRAY(
                SELECT attempt FROM audit WHERE at < now() - greatest(older_than, interval '30 days')
                ORDER BY at LIMIT batch FOR UPDATE SKIP LOCKED
            ))
            RETURNING 1
        )
        SELECT count(*) FROM gone
    $$
    """,
    "REVOKE ALL ON FUNCTION purge_audit FROM PUBLIC",
    # Rights can come back: a release before this one gives the service all of them on every table when it upgrades.
    # The path is fixed, because a caller's could put a `pg_class` of theirs before the true one.
    """
    CREATE FUNCTION keep_audit() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
        BEGIN
            IF current_user <> pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = TG_RELID)) THEN
                RAISE EXCEPTION 'Rows of the audit log stay as they are.' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NULL;
        END
    $$
    """,
    "CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION keep_audit()",
    "ALTER TABLE audit ENABLE ALWAYS TRIGGER keep",
    # The caller's path would have the owner delete from a table of the caller's.
    """
    DO $$
    BEGIN
        EXECUTE 'ALTER FUNCTION purge_audit SET search_path = ' || quote_ident(current_schema()) || ', pg_temp';
    END
    $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
