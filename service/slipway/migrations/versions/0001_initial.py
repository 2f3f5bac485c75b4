"""Users, sessions, items, exports and jobs."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE users (
        id uuid PRIMARY KEY,
        email text NOT NULL CHECK (char_length(email) <= 254),
        display_name text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 200),
        password_hash text NOT NULL,
        permissions text[] NOT NULL DEFAULT '{}',
        is_active boolean NOT NULL DEFAULT true,
        version integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE UNIQUE INDEX users_email_key ON users (lower(email))",
    """
    CREATE TABLE sessions (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_used_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz,
        revoked_reason text,
        user_agent text NOT NULL DEFAULT '' CHECK (char_length(user_agent) <= 256),
        address text NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX sessions_user_id_idx ON sessions (user_id)",
    "CREATE INDEX sessions_expires_at_idx ON sessions (expires_at)",
    """
    CREATE TABLE refresh_tokens (
        token_hash bytea PRIMARY KEY,
        session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        used_at timestamptz,
        successor bytea
    )
    """,
    "CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id)",
    """
    CREATE TABLE login_attempts (
        key_hash bytea PRIMARY KEY,
        failures integer NOT NULL,
        blocked_until timestamptz NOT NULL,
        updated_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX login_attempts_updated_at_idx ON login_attempts (updated_at)",
    """
    CREATE TABLE password_resets (
        token_hash bytea PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        used_at timestamptz
    )
    """,
    "CREATE INDEX password_resets_user_id_idx ON password_resets (user_id)",
    "CREATE INDEX password_resets_expires_at_idx ON password_resets (expires_at)",
    """
    CREATE TABLE items (
        id uuid PRIMARY KEY,
        owner_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
        title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
        body text NOT NULL DEFAULT '' CHECK (char_length(body) <= 10000),
        version integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        search tsvector GENERATED ALWAYS AS (to_tsvector('simple', title || ' ' || body)) STORED
    )
    """,
    "CREATE INDEX items_owner_id_id_idx ON items (owner_id, id)",
    "CREATE INDEX items_search_idx ON items USING gin (search)",
    """
    CREATE TABLE idempotency_keys (
        key_hash bytea PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
        fingerprint bytea NOT NULL,
        status smallint,
        headers jsonb,
        body bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX idempotency_keys_user_id_idx ON idempotency_keys (user_id)",
    "CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at)",
    """
    CREATE TABLE exports (
        id uuid PRIMARY KEY,
        owner_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
        format text NOT NULL CHECK (format IN ('csv', 'jsonl')),
        state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
        row_count integer,
        byte_count bigint,
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX exports_owner_id_id_idx ON exports (owner_id, id)",
    "CREATE INDEX exports_expires_at_idx ON exports (expires_at)",
    """
    CREATE TABLE export_chunks (
        export_id uuid NOT NULL REFERENCES exports ON DELETE CASCADE,
        seq integer NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (export_id, seq)
    )
    """,
    """
    CREATE TABLE jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL CONSTRAINT jobs_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
        payload jsonb NOT NULL,
        context jsonb NOT NULL DEFAULT '{}',
        dedupe_key text,
        attempts integer NOT NULL DEFAULT 0,
        run_after timestamptz NOT NULL DEFAULT now(),
        lease uuid,
        last_error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        dead_at timestamptz
    )
    """,
    "CREATE INDEX jobs_due_idx ON jobs (run_after, id) WHERE dead_at IS NULL",
    "CREATE INDEX jobs_dead_idx ON jobs (id) WHERE dead_at IS NOT NULL",
    "CREATE UNIQUE INDEX jobs_dedupe_key_key ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND dead_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
