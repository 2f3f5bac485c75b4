"""What a body is said to be, and that the edge believes it as whoever parses it does."""

from __future__ import annotations

from email.message import Message
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from servers.asgi import Call, WholeEdge
from slipway.edge import exchange as exchange_module
from slipway.edge.guard import Guard
from slipway.edge.ops import OpsApp
from slipway.http.media_types import is_coded, is_json, media_type
from slipway.settings import Settings

DEEP = b'{"a":[[[[1]]]]}'
FLAT = b'{"a":[[1]]}'

JSON_TYPES = [
    "application/json",
    "application/JSON",
    "APPLICATION/Json; charset=utf-8",
    "application/json ;charset=utf-8",
    'application/json;profile="a;b"',
    "application/merge-patch+json",
    "application/Problem+JSON; x=y",
    "application/json\t",
    "application/json;",
]
OTHER_TYPES = [
    "text/plain",
    "text/json",
    "application/jsonx",
    "application/x-json-lines",
    "text/plain; was=application/json",
    "application/json/x",
    "json",
    "application/x-www-form-urlencoded; a=json",
]


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def edge(seen: list[Any]) -> Any:
    app = FastAPI()

    @app.post("/json")
    async def take(document: dict[str, Any]) -> None:
        seen.append(document)

    return WholeEdge(app, Settings(max_json_depth=4)).edge


async def send(edge: Any, body: bytes | list[bytes], **headers: str) -> Call:
    chunks = body if isinstance(body, list) else [body]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await Call(edge, "POST", "/json", {"Transfer-Encoding": "chunked", **named}, chunks).reply()


@pytest.mark.parametrize("kind", JSON_TYPES)
async def test_json_by_any_spelling_is_guarded_against_depth(edge: Any, seen: list[Any], kind: str) -> None:
    assert (await send(edge, DEEP, content_type=kind)).status == 400
    assert seen == []
    assert (await send(edge, FLAT, content_type=kind)).status == 200
    assert seen == [{"a": [[1]]}]


@pytest.mark.parametrize("kind", [*OTHER_TYPES, ""])
async def test_what_is_not_json_is_not_parsed_however_deep(edge: Any, seen: list[Any], kind: str) -> None:
    assert (await send(edge, DEEP, content_type=kind)).status == 422
    assert seen == []


@pytest.mark.parametrize("kind", JSON_TYPES)
async def test_without_the_comparison_deep_json_is_parsed(
    edge: Any, seen: list[Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(exchange_module, "is_json", lambda _: False)
    assert (await send(edge, DEEP, content_type=kind)).status == 200
    assert seen != []


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")) | st.sampled_from(JSON_TYPES + OTHER_TYPES))
def test_the_edge_and_the_parser_agree_on_what_is_json(kind: str) -> None:
    message = Message()
    message["content-type"] = kind
    subtype = message.get_content_subtype()
    parsed = message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    assert is_json(kind.encode("latin-1")) == parsed


async def test_a_body_whose_end_comes_by_itself_is_guarded_too(edge: Any, seen: list[Any]) -> None:
    assert (await send(edge, [DEEP[:7], DEEP[7:], b""], content_type="application/json")).status == 400
    assert seen == []


WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
HIDDEN = '{"\u0122": [[[[1]]]]}'
"""Half of that character is a quote in these codings: to whoever looks at bytes, the brackets stand in a string."""


@pytest.mark.parametrize("coding", WIDE)
async def test_json_in_a_wide_coding_is_400_because_its_depth_does_not_show(
    edge: Any, seen: list[Any], coding: str
) -> None:
    assert (await send(edge, HIDDEN.encode(coding), content_type="application/json")).status == 400
    assert seen == []


@pytest.mark.parametrize("coding", WIDE)
async def test_without_looking_at_the_coding_deep_json_is_parsed(
    edge: Any, seen: list[Any], monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    monkeypatch.setattr(exchange_module, "is_utf8", lambda _: True)
    assert (await send(edge, HIDDEN.encode(coding), content_type="application/json")).status == 200
    assert seen == [{"\u0122": [[[[1]]]]}]


async def test_json_in_utf_8_is_read_with_and_without_its_mark(edge: Any, seen: list[Any]) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        assert (await send(edge, mark + '{"a":"ü"}'.encode(), content_type="application/json")).status == 200
    assert seen == [{"a": "ü"}] * 2


CODED = ["gzip", "GZIP", "br", "deflate", "zstd", "gzip, identity", "identity,gzip", "identity, , x-own"]


@pytest.mark.parametrize("coding", CODED)
async def test_a_coded_body_is_415_and_told_what_would_be_read(edge: Any, seen: list[Any], coding: str) -> None:
    reply = await send(edge, FLAT, content_type="application/json", content_encoding=coding)
    assert (reply.status, reply.json["error"]) == (415, "unsupported_media_type")
    assert reply.headers["accept-encoding"] == "identity"
    assert seen == []


@pytest.mark.parametrize("coding", ["identity", "Identity", " identity , identity", ""])
async def test_a_body_that_is_said_not_to_be_coded_is_read(edge: Any, coding: str) -> None:
    assert (await send(edge, FLAT, content_type="application/json", content_encoding=coding)).status == 200


async def test_a_coding_of_nothing_is_no_reason_to_refuse(edge: Any) -> None:
    reply = await Call(edge, "POST", "/json", {"Content-Encoding": "gzip", "Content-Length": "0"}).reply()
    assert reply.status == 422


async def test_without_the_guard_a_coded_body_reaches_the_application(
    edge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "_check_coding", lambda *_: None)
    assert (await send(edge, FLAT, content_type="application/json", content_encoding="gzip")).status == 200


def test_each_of_several_coding_headers_counts() -> None:
    assert is_coded([b"identity", b"gzip"])
    assert not is_coded([b"identity", b""])


def test_a_media_type_is_what_stands_before_its_parameters() -> None:
    assert media_type(b"Text/HTML ; charset=utf-8") == "text/html"


async def test_metrics_in_another_spelling_are_openmetrics_all_the_same() -> None:
    app = OpsApp(readiness=list, keys=dict)
    reply = await Call(app, path="/metrics", headers={"Accept": "Application/OpenMetrics-Text; Version=1.0.0"}).reply()
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
