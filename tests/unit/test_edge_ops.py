"""The ops port."""

from __future__ import annotations

from typing import Any

import pytest

from servers.asgi import Call, call
from slipway.edge.ops import Check, OpsApp
from slipway.telemetry.http_metrics import DURATION


def never(*_: object) -> Any:
    raise RuntimeError("must not be asked")


def ops(checks: list[Check] | None = None, keys: dict[str, Any] | None = None) -> OpsApp:
    return OpsApp(readiness=lambda: checks or [], keys=lambda: keys or {})


async def get(app: OpsApp, path: str, query: bytes = b"", method: str = "GET", accept: str = "") -> Call:
    one = Call(app, method, path, {"Accept": accept})
    one._scope["query_string"] = query  # noqa: SLF001 - the only caller with a query
    return await one.reply()


@pytest.mark.parametrize("path", ["/livez", "/healthz"])
async def test_liveness_looks_at_nothing(path: str) -> None:
    reply = await get(OpsApp(readiness=never, keys=never), path)
    assert (reply.status, reply.body) == (200, b"ok\n")


async def test_ready_when_every_check_is_fine() -> None:
    assert (await get(ops([Check("database", ok=True)]), "/readyz")).status == 200


async def test_one_check_that_fails_makes_it_unready_and_verbose_says_why() -> None:
    app = ops([Check("database", ok=True), Check("draining", ok=False, message="the process is stopping")])
    reply = await get(app, "/readyz", b"verbose")
    assert reply.status == 503
    assert reply.body == b"[+] database\n[-] draining: the process is stopping\nnot ready\n"


async def test_a_check_that_raises_is_unready_and_tells_no_detail() -> None:
    reply = await get(OpsApp(readiness=never, keys=never), "/readyz")
    assert (reply.status, reply.body) == (503, b"RuntimeError\n")


async def test_keys_are_json_and_say_which_process_tells_and_that_it_is_the_only_one() -> None:
    app = ops(keys={"signing": "k1", "keys": ["k1", "k2"]})
    told = (await get(app, "/keys")).json
    assert told == {"signing": "k1", "keys": ["k1", "k2"], "process": told["process"], "processes": 1}
    assert (await get(app, "/keys")).json == told
    assert (await get(ops(), "/keys")).json["process"] != told["process"], "each start has another"


async def test_metrics_are_prometheus_text_with_build_and_process() -> None:
    reply = await get(ops(), "/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert b"slipway_build_info{" in reply.body
    assert b"process_resident_memory_bytes" in reply.body


async def test_openmetrics_carries_exemplars() -> None:
    DURATION.labels("GET", "/exemplar").observe(0.02, {"trace_id": "f" * 32})
    plain = await get(ops(), "/metrics")
    reply = await get(ops(), "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert ('# {trace_id="' + "f" * 32 + '"}').encode() in reply.body
    assert b"trace_id" not in plain.body


async def test_other_paths_and_methods_are_refused() -> None:
    assert (await get(ops(), "/docs")).status == 404
    refused = await get(ops(), "/keys", method="POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_head_has_no_body() -> None:
    reply = await call(ops(), "HEAD", "/livez")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "3")


async def test_its_lifespan_has_nothing_to_do() -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await ops()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz", "/metrics", "/keys", "/nowhere"])
async def test_no_reply_is_taken_for_another_kind_of_document_than_it_says(path: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert (await get(ops(), path, method=method)).headers["x-content-type-options"] == "nosniff"
