"""Settings: one message with every fault, never a secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

from slipway.domains import SETTINGS
from slipway.settings import Settings
from slipway.settings.production import production_faults
from slipway.settings.sources import SettingsError, load_settings
from slipway.settings.table import settings_table

SAFE = {
    "SLIPWAY_ENVIRONMENT": "production",
    "SLIPWAY_DATABASE_URL": "postgresql://api:kq93-long-and-random@db/slipway",
    "SLIPWAY_SIGNING_KEYS_DIR": "/keys",
    "SLIPWAY_ISSUER": "https://api.example.com",
    "SLIPWAY_PASSWORD_RESET_URL": "https://www.example.com/reset?token={token}",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os  # noqa: PLC0415

    for name in list(os.environ):
        if name.startswith("SLIPWAY_"):
            monkeypatch.delenv(name)


def _set(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_safe_production_settings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, SAFE)
    assert load_settings(SETTINGS).production


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"SLIPWAY_DEBUG": "true"}, "SLIPWAY_DEBUG"),
        ({"SLIPWAY_DATABASE_URL": "postgresql://slipway:slipway-demo@db/slipway"}, "SLIPWAY_DATABASE_URL"),
        ({"SLIPWAY_DATABASE_URL": "postgresql://slipway:slipway%2Ddemo@db/slipway"}, "SLIPWAY_DATABASE_URL"),
        ({"SLIPWAY_REDIS_URL": "redis://:changeme@redis"}, "SLIPWAY_REDIS_URL"),
        ({"SLIPWAY_SMTP_URL": "smtp://me:password@mail"}, "SLIPWAY_SMTP_URL"),
        ({"SLIPWAY_CORS_ORIGINS": "*", "SLIPWAY_CORS_CREDENTIALS": "true"}, "SLIPWAY_CORS_ORIGINS"),
        ({"SLIPWAY_ISSUER": "http://api.example.com"}, "SLIPWAY_ISSUER"),
        ({"SLIPWAY_PASSWORD_RESET_URL": "https://www.example.com/reset"}, "SLIPWAY_PASSWORD_RESET_URL"),
        ({"SLIPWAY_EMAIL_CHANGE_URL": "https://www.example.com/confirm"}, "SLIPWAY_EMAIL_CHANGE_URL"),
        ({"SLIPWAY_EMAIL_CHANGE_URL": "http://www.example.com/?{token}"}, "SLIPWAY_EMAIL_CHANGE_URL"),
        ({"SLIPWAY_ACCESS_TOKEN_TTL": "60"}, "SLIPWAY_ACCESS_TOKEN_TTL"),
    ],
)
def test_production_refuses_what_is_unsafe_there(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str], named: str
) -> None:
    _set(monkeypatch, {**SAFE, **change})
    with pytest.raises(SettingsError, match=named) as refused:
        load_settings(SETTINGS)
    assert len(refused.value.faults) == 1


@pytest.mark.parametrize("missing", ["SLIPWAY_DATABASE_URL", "SLIPWAY_SIGNING_KEYS_DIR", "SLIPWAY_PASSWORD_RESET_URL"])
def test_production_refuses_what_is_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    _set(monkeypatch, {name: value for name, value in SAFE.items() if name != missing})
    with pytest.raises(SettingsError, match=missing):
        load_settings(SETTINGS)


def test_every_fault_is_listed_at_once_and_no_secret_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {
        "SLIPWAY_DEBUG": "1",
        "SLIPWAY_PORT": "not-a-port",
        "SLIPWAY_DATABASE_URL": "postgresql://slipway:changeme@db/slipway",
        "SLIPWAY_CORS_ORIGINS": "*",
        "SLIPWAY_CORS_CREDENTIALS": "true",
        "SLIPWAY_TRUSTED_PROXIES": "everyone",
    }
    _set(monkeypatch, {**SAFE, **broken})
    with pytest.raises(SettingsError) as refused:
        load_settings(SETTINGS)
    message = str(refused.value)
    for name in broken:
        assert name in message or name == "SLIPWAY_CORS_CREDENTIALS"
    assert "changeme" not in message
    assert "not-a-port" not in message


def test_without_the_check_production_would_start_with_a_demo_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the guard switched off."""
    monkeypatch.setattr("slipway.settings.sources.production_faults", lambda _: [])
    _set(monkeypatch, {**SAFE, "SLIPWAY_DATABASE_URL": "postgresql://slipway:slipway@db/slipway"})
    assert load_settings(SETTINGS).production


def test_development_needs_nothing() -> None:
    assert load_settings(SETTINGS) == SETTINGS()


def test_secrets_are_not_shown_by_the_settings_themselves() -> None:
    settings = Settings(database_url="postgresql://a:hidden-value@b/c")  # type: ignore[arg-type]
    assert "hidden-value" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CORS_ORIGINS", "https://a.example, https://b.example")
    assert load_settings(SETTINGS).cors_origins == ["https://a.example", "https://b.example"]


def test_the_readme_shows_the_settings_as_they_are() -> None:
    assert settings_table(SETTINGS) in Path("README.md").read_text(encoding="utf-8")


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in SETTINGS.model_fields.items() if not field.description] == []


def test_production_faults_are_sentences() -> None:
    faults = production_faults(Settings(environment="production"))
    assert faults
    assert all(fault.endswith(".") for fault in faults)


def test_trusted_proxies_are_networks_as_the_server_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_TRUSTED_PROXIES", "10.1.2.3/8, 192.0.2.7, 2001:db8::1/32")
    networks = load_settings(SETTINGS).trusted_proxies
    assert networks == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]
    trusted = _TrustedHosts(networks)
    assert "10.9.9.9" in trusted
    assert "11.0.0.1" not in trusted
    assert "10.9.9.9" not in _TrustedHosts(["10.1.2.3/8"]), "what it makes of a network with host bits"


def test_secret_settings_may_come_from_files_and_the_environment_goes_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slipway_redis_url").write_text("redis://:from-a-file@redis\n")
    (tmp_path / "slipway_smtp_url").write_text("smtp://me:from-a-file@mail\n")
    _set(monkeypatch, {"SLIPWAY_SECRETS_DIR": str(tmp_path), "SLIPWAY_SMTP_URL": "smtp://me:from-env@mail"})
    settings = load_settings(SETTINGS)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:from-a-file@redis"
    assert settings.smtp_url is not None
    assert settings.smtp_url.get_secret_value() == "smtp://me:from-env@mail"
    assert "from-a-file" not in repr(settings)


def test_production_refuses_a_demo_password_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slipway_redis_url").write_text("redis://:slipway-demo@redis")
    _set(monkeypatch, {**SAFE, "SLIPWAY_SECRETS_DIR": str(tmp_path)})
    with pytest.raises(SettingsError, match="SLIPWAY_REDIS_URL carries a demo password"):
        load_settings(SETTINGS)


def test_a_folder_of_secrets_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _set(monkeypatch, {"SLIPWAY_SECRETS_DIR": str(tmp_path / "gone")})
    with pytest.raises(SettingsError, match="SLIPWAY_SECRETS_DIR names no folder that can be read"):
        load_settings(SETTINGS)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "slipway_redis_url",
            b"redis://:\xff\xfe@redis",
            "slipway_redis_url in SLIPWAY_SECRETS_DIR can't be read as text",
        ),
        ("slipway_redis_uri", b"redis://:secret@redis", "slipway_redis_uri in SLIPWAY_SECRETS_DIR is no setting"),
        ("slipway_database_pool_size", b"many", "SLIPWAY_DATABASE_POOL_SIZE: Input should be a valid integer"),
    ],
)
def test_a_bad_secret_file_is_one_fault_among_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    _set(monkeypatch, {**SAFE, "SLIPWAY_SECRETS_DIR": str(tmp_path), "SLIPWAY_ISSUER": "http://api.example.com"})
    with pytest.raises(SettingsError) as refused:
        load_settings(SETTINGS)
    assert len(refused.value.faults) == 2
    assert sentence in str(refused.value)
    assert "SLIPWAY_ISSUER must be the public https:// address" in str(refused.value)
    assert "secret@" not in str(refused.value)


def test_other_files_beside_the_secrets_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "notes").write_bytes(b"\xff")
    (tmp_path / "slipway_audience").write_text("others")
    _set(monkeypatch, {"SLIPWAY_SECRETS_DIR": str(tmp_path)})
    assert load_settings(SETTINGS).audience == "others"


@pytest.mark.parametrize("seconds", [0, 3650 * 86400 + 1])
def test_a_longest_lifetime_beyond_all_sense_is_refused(seconds: int) -> None:
    Settings(session_max_lifetime=min(max(seconds, 1), 3650 * 86400))
    with pytest.raises(ValueError, match="session_max_lifetime"):
        Settings(session_max_lifetime=seconds)
