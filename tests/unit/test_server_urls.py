"""URLs of Redis and of mail servers: read whole, or refused by the name of what isn't taken."""

from __future__ import annotations

import pytest

from slipway.domains import SETTINGS
from slipway.mail.mailer import SmtpMailer
from slipway.redis.gateway import RedisGateway, RedisSettingsError
from slipway.settings import Settings
from slipway.settings.production import production_faults
from slipway.settings.sources import SettingsError, load_settings
from slipway.urls.redis_url import address_of
from slipway.urls.server_url import ServerUrl, UrlError

REDIS = {"tls": False, "host": "cache", "port": 6379, "db": 0, "username": None, "password": None}


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("redis://cache", {}),
        ("REDIS://cache:6380/2\n", {"port": 6380, "db": 2}),
        ("rediss://me:p%40s%2F@cache", {"tls": True, "username": "me", "password": "p@s/"}),
        ("redis://:p#s@[@cache/", {"password": "p#s@["}),
        ("redis://cache:1", {"port": 1}),
        ("redis://cache:65535", {"port": 65535}),
        ("redis://[fd00::1]:6380", {"host": "fd00::1", "port": 6380}),
        ("redis://cache?db=3", {"db": 3}),
        ("redis://cache/3?db=3", {"db": 3}),
    ],
)
def test_a_url_of_redis_says_where_and_who(url: str, changed: dict[str, object]) -> None:
    assert address_of(url) == REDIS | changed


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://:hush@a:26379,b:26379/mymaster/0", "one for Sentinel"),
        ("redis-sentinel://:hush@a:26379/0#mymaster", "one for Sentinel"),
        ("rediss+sentinel://:hush@a", "one for Sentinel"),
        ("sentinel://:hush@a", "one for Sentinel"),
        ("redis+cluster://:hush@a", "one for a cluster"),
        ("unix:///hush.sock?db=0", "one for a Unix socket"),
        ("redis+socket:///hush.sock", "one for a Unix socket"),
        ("redis://:hush@a:26379?sentinel=mymaster", "one for Sentinel"),
        ("redis://:hush@a:26379/0?sentinelMasterId=hush", "one for Sentinel"),
        ("redis://:hush@a?cluster=true", "one for a cluster"),
        ("redis://:hush@a:26379/mymaster", "Sentinel's name of a server"),
        ("redis://:hush@a,b:6379/0", "several hosts"),
        ("redis://:hush@a:6379;b:6379", "several hosts"),
        ("redis://:hush@a b", "several hosts"),
        ("redis://:hush@a:6379;redis://:hush@b:6379", "several hosts"),
        ("redis://:hush@a:6379/0,redis://:hush@b:6379/0", "several hosts"),
        ("redis://:hush@a/0?ssl_cert_reqs=none", "the parameter ssl_cert_reqs"),
        ("rediss://:hush@a/0?ssl_check_hostname=hush", "the parameter ssl_check_hostname"),
        ("redis://:hush@a/0?socket_timeout=5", "the parameter socket_timeout"),
        ("redis://:hush@a:65536", "a port that is no number"),
        ("redis://:hush@a/1?db=2", "database twice"),
        ("redis://:hush@a?db=1&db=1", "the parameter db twice"),
        ("redis://:hush@a?db", "the parameter db without a value"),
        ("redis://:hush@a?db=hush", "number of a database"),
        ("redis://:hush?hush=1@a", "a port"),
        ("hush", "must look like redis://"),
        ("", "must look like redis://"),
    ],
)
def test_another_kind_of_redis_is_told_what_it_is(url: str, said: str) -> None:
    with pytest.raises(RedisSettingsError) as refused:
        RedisGateway(Settings(redis_url=url))  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://me:hush@mail?starttls=required", "the parameter starttls"),
        ("smtp://me:hush@mail?tls=true", "the parameter tls"),
        ("smtps://me:hush@mail/?verify=hush", "the parameter verify"),
        ("smtp://me:hush@mail/hush", "a path"),
        ("smtp://me:hush@a,b", "several hosts"),
        ("smtp://me:hush/@mail", "a port that is no number"),
        ("smtp://me:hush@mail:hush", "a port that is no number"),
        ("smtp://me:12?hush=1@mail", "a parameter that is none"),
        ("smtp+starttls://me:hush@mail", "must be smtp://host"),
        ("smtp://", "must be smtp://host"),
        ("mail.example", "must be smtp://host"),
    ],
)
def test_a_mail_servers_url_is_taken_whole_or_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match="SLIPWAY_SMTP_URL") as refused:
        SmtpMailer(Settings(), url)
    assert said in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_url_shows_neither_password_nor_parameters() -> None:
    assert "hush" not in repr(ServerUrl.read("redis://me:hush@a?x=hush"))


@pytest.mark.parametrize("url", ["redis://:changeme@[", "redis://:change,me@a,b", "redis"])
def test_production_still_tells_its_faults_where_a_url_can_not_be_read(url: str) -> None:
    with pytest.raises(UrlError):
        address_of(url)
    faults = production_faults(Settings(environment="production", redis_url=url))  # type: ignore[arg-type]
    assert any("SLIPWAY_SIGNING_KEYS_DIR" in fault for fault in faults)


def test_every_url_that_can_not_be_used_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://me:hush@a/x?channel_binding=require")
    monkeypatch.setenv("SLIPWAY_REDIS_URL", "redis+sentinel://:hush@a,b/main")
    monkeypatch.setenv("SLIPWAY_SMTP_URL", "smtp://me:hush@mail?tls=1")
    with pytest.raises(SettingsError) as refused:
        load_settings(SETTINGS)
    assert [fault.split()[0] for fault in refused.value.faults] == [
        "SLIPWAY_DATABASE_URL", "SLIPWAY_REDIS_URL", "SLIPWAY_SMTP_URL"
    ]  # fmt: skip
    assert "hush" not in str(refused.value)


def test_an_address_without_a_login_is_no_fault_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://db/shop?sslmode=verify-full")
    assert load_settings(SETTINGS).database_url is not None
