"""Times that can't hold together are refused at the start, each with a sentence that names both settings."""

from __future__ import annotations

import os

import pytest

from slipway.domains import SETTINGS
from slipway.local.standalone import run_settings
from slipway.settings import Settings
from slipway.settings.sources import SettingsError, load_settings
from slipway.settings.times import time_faults

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://api:kq93-long-and-random@db/slipway",
    "SIGNING_KEYS_DIR": "/keys",
    "ISSUER": "https://api.example.com",
    "PASSWORD_RESET_URL": "https://www.example.com/reset?token={token}",
}

EVERYWHERE = [
    ({"SESSION_MAX_LIFETIME": "899"}, {"SESSION_MAX_LIFETIME": "900"}, "ACCESS_TOKEN_TTL"),
    ({"REFRESH_TOKEN_TTL": "899"}, {"REFRESH_TOKEN_TTL": "900"}, "ACCESS_TOKEN_TTL"),
    (
        {"REFRESH_GRACE": "60", "REFRESH_TOKEN_TTL": "60", "ACCESS_TOKEN_TTL": "60"},
        {"REFRESH_GRACE": "59", "REFRESH_TOKEN_TTL": "60", "ACCESS_TOKEN_TTL": "60"},
        "REFRESH_TOKEN_TTL",
    ),
    (
        {"TOKEN_LEEWAY": "5", "ACCESS_TOKEN_TTL": "5"},
        {"TOKEN_LEEWAY": "4", "ACCESS_TOKEN_TTL": "5"},
        "ACCESS_TOKEN_TTL",
    ),
    (
        {"IDEMPOTENCY_TTL": "60", "REQUEST_DEADLINE": "60"},
        {"IDEMPOTENCY_TTL": "61", "REQUEST_DEADLINE": "60"},
        "REQUEST_DEADLINE",
    ),
    (
        {"REDIS_TIMEOUT": "0.5", "REQUEST_DEADLINE": "0.5"},
        {"REDIS_TIMEOUT": "0.4", "REQUEST_DEADLINE": "0.5"},
        "REQUEST_DEADLINE",
    ),
    ({"SMTP_TIMEOUT": "300"}, {"SMTP_TIMEOUT": "299"}, "JOB_TIMEOUT"),
    ({"EXPORT_TTL": "300"}, {"EXPORT_TTL": "301"}, "JOB_TIMEOUT"),
]
IN_PRODUCTION = [
    ({"SHUTDOWN_TIMEOUT": "9.9"}, {"SHUTDOWN_TIMEOUT": "10"}, "REQUEST_DEADLINE"),
    ({"DATABASE_POOL_TIMEOUT": "10"}, {"DATABASE_POOL_TIMEOUT": "9.9"}, "REQUEST_DEADLINE"),
    ({"DATABASE_CONNECT_TIMEOUT": "10"}, {"DATABASE_CONNECT_TIMEOUT": "9.9"}, "REQUEST_DEADLINE"),
]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)


def _load(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"SLIPWAY_{name}", value)
    return load_settings(SETTINGS)


def _names(faults: list[str], values: dict[str, str], other: str) -> bool:
    """Whether the one fault names the first of these settings with its value, and the other one."""
    [fault] = faults
    name, value = next(iter(values.items()))
    return f"SLIPWAY_{name} ({value} s)" in fault and f"SLIPWAY_{other} (" in fault


@pytest.mark.parametrize(("broken", "fine", "other"), EVERYWHERE)
def test_times_that_contradict_each_other_are_refused_by_both_names(
    monkeypatch: pytest.MonkeyPatch, broken: dict[str, str], fine: dict[str, str], other: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        _load(monkeypatch, broken)
    assert _names(refused.value.faults, broken, other)
    assert _load(monkeypatch, fine)


@pytest.mark.parametrize(("broken", "fine", "other"), IN_PRODUCTION)
def test_times_under_which_requests_fail_are_refused_in_production(
    monkeypatch: pytest.MonkeyPatch, broken: dict[str, str], fine: dict[str, str], other: str
) -> None:
    assert _load(monkeypatch, broken)
    with pytest.raises(SettingsError) as refused:
        _load(monkeypatch, PRODUCTION)
    assert _names(refused.value.faults, broken, other)
    assert _load(monkeypatch, fine).production


def test_the_defaults_hold_in_production_and_for_a_run_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert time_faults(_load(monkeypatch, PRODUCTION)) == []
    assert time_faults(run_settings(Settings(environment="development"))) == []


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        _load(monkeypatch, {"SMTP_TIMEOUT": "300", "EXPORT_TTL": "300", "SESSION_MAX_LIFETIME": "1"})
    assert len(refused.value.faults) == 3
