"""Settings of every process: name, bounds, default and meaning; domains add their own. Values: `settings.sources`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024

EMAIL_CHANGE_PAGE = "/docs?token={token}#/auth/confirm_email_change"
PASSWORD_RESET_PAGE = "/docs?token={token}#/auth/confirm_password_reset"  # noqa: S105 - an address
"""Where reset mail leads in development: the documentation of what takes the token."""

CommaSeparated = Annotated[list[str], NoDecode]


class Settings(BaseSettings):
    """What one process is told. Durations are seconds, sizes bytes, unless a description says otherwise."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_", extra="ignore", frozen=True, hide_input_in_errors=True)

    # What this process is
    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses what is unsafe there, with every fault in one message."
    )
    debug: bool = Field(
        False,
        description="Logs each SQL statement with its time, never its values; serves what `openapi` does. "
        "Refused in production.",
    )
    openapi: bool = Field(
        False, description="Serves `/openapi.json`; in development `/docs` and `/redoc` too, from local files."
    )
    secrets_dir: Path | None = Field(
        None,
        description="Folder of files named like settings in lower case (`slipway_redis_url`, `slipway_smtp_url`), "
        "read once; the environment goes before.",
    )
    host: str = Field("127.0.0.1", description="Address the API listens on; `*`: every one, IPv4 and IPv6.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API.")
    ops_host: str = Field("127.0.0.1", description="Address the ops port listens on, as `SLIPWAY_HOST`.")
    ops_port: int = Field(9090, ge=0, le=65535, description="Port of `/metrics`, `/livez`, `/readyz` and `/keys`.")
    data_dir: Path = Field(Path(".slipway"), description="`slipway run` only: database files and keys.")

    admin_credentials_dir: Path | None = Field(
        None, description="Folder with `email` and `password` of the administrator made in a database without users."
    )

    # Database
    database_url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host:port/name`. Of libpq's parameters `sslmode`, `sslrootcert`, "
        "`connect_timeout`, `application_name` and `options` are taken, others refused by name. "
        "Without it `slipway run` starts its own.",
    )
    database_credentials_dir: Path | None = Field(
        None,
        description="Folder of a Secret's files (`host`, `port`, `database` or `dbname`, `username` or `user`, "
        "`password`, `uri`); read again when they change. What they don't say comes from `database_url`.",
    )
    database_tls: Literal["disable", "require", "verify-full"] = Field(
        "disable",
        description="TLS to PostgreSQL; `verify-full` checks the chain and the host name. "
        "Of this and an `sslmode` the stronger counts.",
    )
    database_ca_file: Path | None = Field(None, description="CA bundle for `verify-full`; the system's when unset.")
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections kept open by a process.")
    database_max_overflow: int = Field(20, ge=0, le=200, description="Connections beyond that, closed after use.")
    database_pool_timeout: float = Field(3.0, gt=0, description="Longest wait for a free connection.")
    database_pool_recycle: int = Field(1800, ge=1, description="Age at which a connection is replaced.")
    database_connect_timeout: float = Field(3.0, gt=0, description="Longest wait for a new connection.")
    database_grant_to: str = Field(
        "",
        pattern=r"^([a-z_][a-z0-9_$]{0,62})?$",
        description="Role that `slipway db upgrade` gives the service's rights (read and write rows, no DDL).",
    )

    migration_lock_timeout: float = Field(
        3.0, gt=0, le=600, description="`slipway db upgrade`: longest wait for a table's lock; then it backs off."
    )
    migration_statement_timeout: float = Field(
        900.0, gt=0, description="`slipway db upgrade`: longest run of one statement."
    )
    migration_budget: float = Field(
        3600.0, gt=0, description="`slipway db upgrade`: longest run altogether, waiting for other runners included."
    )

    # Redis
    redis_url: SecretStr | None = Field(
        None, description="`redis://` or `rediss://`. Without it each process caches and counts for itself."
    )
    redis_ca_file: Path | None = Field(None, description="CA bundle for `rediss://`; the system's when unset.")
    redis_timeout: float = Field(0.1, gt=0, le=5, description="Longest wait for a reply of Redis.")
    cache_ttl: float = Field(30.0, ge=0, le=3600, description="Longest time a cached row is served; 0 reads each time.")

    # Tokens and sessions
    issuer: str = Field("http://127.0.0.1:8000", description="`iss` of tokens and base of the discovery document.")
    audience: str = Field("slipway", min_length=1, description="`aud` of tokens.")
    signing_keys_dir: Path | None = Field(
        None, description="Folder with `jwks.json` (private JWK Set) and `signing` (key id); read again on change."
    )
    access_token_ttl: int = Field(900, ge=1, le=3600, description="Lifetime of access tokens; production: 900-1800.")
    refresh_token_ttl: int = Field(30 * 86400, ge=60, description="Lifetime of a session without use.")
    session_max_lifetime: int = Field(
        90 * 86400, ge=1, le=3650 * 86400, description="Lifetime of a session from its sign-in on, however much used."
    )
    refresh_grace: float = Field(10.0, ge=0, le=60, description="How long a used refresh token gives its reply again.")
    token_leeway: int = Field(5, ge=0, le=60, description="Clock difference forgiven in `exp` and `nbf`.")
    session_max_age: float = Field(
        1.0, ge=0, le=1, description="Longest time a revoked session is still accepted; 0 reads its row each time."
    )
    files_poll_interval: float = Field(0.5, gt=0, le=60, description="How often mounted files are looked at.")

    # Passwords and sign-in
    password_min_length: int = Field(12, ge=8, le=128, description="Shortest password accepted.")
    password_memory: int = Field(64 * MIB, ge=8 * MIB, description="Memory of one argon2id hash.")
    password_iterations: int = Field(3, ge=1, le=20, description="Passes of argon2id.")
    password_workers: int = Field(2, ge=1, le=16, description="Hashes computed at once; each takes that memory.")
    password_queue: int = Field(64, ge=1, le=10_000, description="Hashes that may wait; more are turned away with 503.")
    login_account_attempts: int = Field(5, ge=1, description="Failures of an account before back-off starts.")
    login_address_attempts: int = Field(100, ge=1, description="Failures of an address before back-off starts.")
    login_backoff_max: int = Field(900, ge=1, le=43_200, description="Longest back-off; it doubles from one second.")
    password_reset_ttl: int = Field(1800, ge=60, description="Lifetime of a password reset link.")
    password_reset_url: str = Field(
        "http://127.0.0.1:8000" + PASSWORD_RESET_PAGE,
        description="Link in the reset mail, to a page of yours that sends the token to "
        "`POST /api/v1/auth/password-reset/confirm`; `{token}` is replaced. The default opens the documentation there.",
    )

    email_change_ttl: int = Field(86400, ge=60, description="Lifetime of the link that confirms a new address.")
    email_change_url: str | None = Field(
        None,
        description="Link in the mail to a new address, to a page of yours that sends the token to "
        "`POST /api/v1/auth/email-change/confirm`; `{token}` is replaced. Without it the mail carries the token alone; "
        "`slipway run` opens the documentation there.",
    )

    # Limits
    request_deadline: float = Field(10.0, gt=0, le=300, description="Longest time a request may take.")
    stream_deadline: float = Field(300.0, gt=0, description="Longest time a started reply may stream.")
    max_concurrency: int = Field(128, ge=1, description="Requests worked on at once; more are turned away with 503.")
    max_body_bytes: int = Field(MIB, ge=1024, description="Largest request body.")
    max_header_bytes: int = Field(32 * 1024, ge=4096, description="Largest total of request headers.")
    max_json_depth: int = Field(32, ge=1, le=200, description="Deepest nesting of a JSON body.")
    rate_limit: int = Field(600, ge=1, description="Requests of one user or address in a window.")
    rate_limit_window: int = Field(60, ge=1, le=3600, description="Length of that window.")
    rate_limit_replicas: int = Field(
        1, ge=1, description="Processes that share the limit; without Redis each enforces its share."
    )
    idempotency_ttl: int = Field(86400, ge=60, description="How long an `Idempotency-Key` is remembered.")
    cors_origins: CommaSeparated = Field(
        [], description="Origins allowed by CORS as browsers send them, comma-separated; `*` for any."
    )
    cors_headers: CommaSeparated = Field(
        [],
        description="Request headers that CORS allows beside the API's own, comma-separated (`baggage, sentry-trace`).",
    )
    cors_credentials: bool = Field(False, description="Allows credentials in CORS requests.")
    trusted_proxies: CommaSeparated = Field(
        [], description="Networks whose `X-Forwarded-*` headers are believed, comma-separated."
    )

    # Start and stop
    drain: float = Field(15.0, ge=0, le=300, description="After SIGTERM: unready, but still serving for this long.")
    shutdown_timeout: float = Field(15.0, gt=0, le=300, description="Then: longest wait for running requests.")

    # Seeing it
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP collector, e.g. `http://collector:4318`.")
    trace_sample_ratio: float = Field(0.1, ge=0, le=1, description="Largest share of requests traced, whoever asks.")

    # Jobs and mail
    worker_concurrency: int = Field(4, ge=1, le=100, description="Jobs that a worker runs at once.")
    job_max_attempts: int = Field(8, ge=1, le=50, description="Tries before a job goes to the dead-letter list.")
    job_backoff: float = Field(2.0, gt=0, le=600, description="First delay between tries; it doubles, with jitter.")
    job_timeout: float = Field(300.0, gt=0, description="Longest run of one job.")
    purge_interval: float = Field(600.0, ge=1, description="How often expired rows are deleted.")
    smtp_url: SecretStr | None = Field(
        None,
        description="`smtp://user:password@host:587` (STARTTLS) or `smtps://`. Without it mail is shown on "
        "standard error in development, and its jobs become dead letters in production.",
    )
    smtp_ca_file: Path | None = Field(None, description="CA bundle for the mail server; the system's when unset.")
    smtp_timeout: float = Field(10.0, gt=0, description="Longest wait for the mail server.")
    mail_from: str = Field("slipway@localhost", description="Sender of mail.")

    @field_validator("cors_origins", "cors_headers", "trusted_proxies", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        # As the server wants them: it reads networks strictly, and would take `10.1.2.3/8` for a name.
        return [str(ipaddress.ip_network(part, strict=False)) for part in value]

    @field_validator("issuer")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be an http(s) URL without query, such as https://api.example.com")
        return value.rstrip("/")

    @property
    def production(self) -> bool:
        return self.environment == "production"

    def faults(self) -> list[str]:
        """What can't hold together of a domain's settings, sentences that name them: put to those of `super()`."""
        return []

    def with_changes(self, **changes: object) -> Self:
        """A validated copy; for what a command line or `slipway run` decides itself."""
        return type(self)(**{**self.model_dump(), **changes})
