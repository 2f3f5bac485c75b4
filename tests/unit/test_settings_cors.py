"""CORS settings mean something, or a sentence says what to write."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from servers.asgi import WholeEdge, call
from slipway.domains import SETTINGS
from slipway.settings import Settings
from slipway.settings.cors import cors_faults, origin_fault
from slipway.settings.sources import SettingsError, load_settings

SENT_BY_BROWSERS = (
    "https://a.example", "http://a.example", "https://a.example:8443", "https://a.example:65535",
    "http://a.example:443", "https://a.example:80",
    "http://localhost", "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000", "http://[2001:db8::1]",
    "http://[::ffff:7f00:1]",
    "https://a-b.c_d.example", "https://xn--bcher-kva.example", "https://a.example.", "https://1.a.example",
    "chrome-extension://abcdefghijklmnop", "capacitor://localhost", "safari-web-extension://5C8A-B2", "app://obsidian.md",
)  # fmt: skip
WRITE = {
    "https://a.example/": "https://a.example",
    "https://a.example//": "https://a.example",
    "https://a.example/app/a": "https://a.example",
    "https://a.example/?x=1": "https://a.example",
    "https://a.example#top": "https://a.example",
    "https://a.example\\app": "https://a.example",
    "https://a.example:8443/": "https://a.example:8443",
    "HTTPS://A.Example:443/": "https://a.example",
    "https://A.example": "https://a.example",
    "HTTPS://a.example": "https://a.example",
    "Chrome-Extension://abc": "chrome-extension://abc",
    "https://a.example:443": "https://a.example",
    "http://a.example:80": "http://a.example",
}
REFUSED = {
    "null": "any site",
    "NULL": "any site",
    '["https://a.example"': "JSON",
    '"https://b.example"]': "JSON",
    "[https://a.example]": "JSON",
    "'https://a.example'": "quoted",
    "'https://a.example": "quoted",
    "[https://a.example": "JSON",
    "{https://a.example}": "JSON",
    "https://a.example https://b.example": "commas",
    "https://a.example;https://b.example": "commas",
    "https://a.example\u200b": "blank",
    "a.example": "no scheme",
    "localhost:3000": "no scheme",
    "//a.example": "no scheme",
    "https:a.example": "no scheme",
    "://a.example": "no scheme",
    "1https://a.example": "no scheme",
    "https://*.example": "pattern",
    "https://*.example/": "pattern",
    "https://bücher.example/": "xn--",
    "http://[fe80::1%25eth0]": "no host",
    "https://a.example:*": "pattern",
    "*.example": "no scheme",
    "https://bücher.example": "xn--",
    "https://": "no host",
    "file://": "no host",
    "https://:8443": "no host",
    "https://a..example": "no host",
    "https://.a.example": "no host",
    "https://a%20b.example": "no host",
    "https://a.example:": "port",
    "https://a.example:0443": "port",
    "https://a.example:65536": "port",
    "https://a.example:http": "port",
    "https://127.1": "no host",
    "https://0x7f.0.0.1": "no host",
    "https://010.0.0.1": "no host",
    "https://256.0.0.1": "no host",
    "https://[::1": "no host",
    "https://::1": "no host",
    "https://[0:0::1]": "no host",
}


@pytest.mark.parametrize("origin", SENT_BY_BROWSERS)
def test_what_a_browser_can_send_is_accepted(origin: str) -> None:
    assert origin_fault(origin) is None


@pytest.mark.parametrize("origin", WRITE)
def test_what_no_browser_writes_so_is_told_with_what_to_write(origin: str) -> None:
    fault = origin_fault(origin)
    assert fault is not None
    assert fault.endswith(f": write {WRITE[origin]}.")
    assert origin_fault(WRITE[origin]) is None


@pytest.mark.parametrize("origin", REFUSED)
def test_what_can_never_match_is_told_why(origin: str) -> None:
    fault = origin_fault(origin)
    assert fault is not None
    assert REFUSED[origin] in fault
    assert fault.endswith(".")


def _start(monkeypatch: pytest.MonkeyPatch, **values: str) -> list[str]:
    for name, value in values.items():
        monkeypatch.setenv(f"SLIPWAY_CORS_{name.upper()}", value)
    try:
        load_settings(SETTINGS)
    except SettingsError as error:
        return error.faults
    return []


def test_the_start_is_refused_with_a_sentence_for_each_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = _start(monkeypatch, origins="https://a.example/, https://b.example, https://*.example")
    assert [fault.partition(": ")[0] for fault in faults] == ["SLIPWAY_CORS_ORIGINS"] * 2
    assert "https://a.example/ ends with /" in faults[0]
    assert "https://*.example is a pattern" in faults[1]


def test_a_json_list_is_told_from_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = _start(monkeypatch, origins='["https://a.example", "https://b.example"]')
    assert len(faults) == 2
    assert all("looks like JSON" in fault for fault in faults)


def test_a_password_in_an_origin_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    (fault,) = _start(monkeypatch, origins="https://me:hidden-value@a.example")
    assert "@a.example has a user name or password" in fault
    assert "hidden-value" not in fault


def test_the_star_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (fault,) = _start(monkeypatch, origins="*, https://a.example")
    assert "* allows every origin" in fault
    assert _start(monkeypatch, origins="*") == []


def test_blanks_doubles_and_loose_commas_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(monkeypatch, origins=" https://a.example ,,https://a.example, ") == []


@pytest.mark.parametrize("headers", ["*", "x y", "baggage:", "x=1", '["baggage"]', "bäggage", "a;b"])
def test_what_is_no_name_of_a_header_is_refused(monkeypatch: pytest.MonkeyPatch, headers: str) -> None:
    (fault,) = _start(monkeypatch, headers=headers)
    assert fault.startswith("SLIPWAY_CORS_HEADERS: ")


def test_without_the_check_an_origin_that_never_matches_would_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.settings.sources.cors_faults", lambda _: [])
    assert _start(monkeypatch, origins="https://a.example/") == []


ORIGIN = "https://a.example"


async def _preflight(headers: str, allowed: list[str]) -> int:
    settings = Settings(cors_origins=[ORIGIN], cors_headers=allowed)
    assert cors_faults(settings) == []
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }
    return (await call(WholeEdge(FastAPI(), settings).edge, "OPTIONS", "/items", headers=asked)).status


async def test_a_preflight_may_ask_for_the_headers_that_are_named_and_no_others() -> None:
    assert await _preflight("baggage,sentry-trace", ["Baggage", "sentry-trace"]) == 200
    assert await _preflight("authorization,baggage,if-none-match", ["baggage"]) == 200
    assert await _preflight("baggage,x-other", ["baggage"]) == 400
    assert await _preflight("baggage", []) == 400
