"""What runs side by side in a process: it ends together, and none ends unnoticed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from servers.waiting import free_port, until
from slipway import server
from slipway.listening import listen
from slipway.server import _Parts, _uvicorn
from slipway.settings import Settings


class Part:
    """Runs until it is told to stop, or until it fails."""

    def __init__(self, others: list[Part], fails: Exception | None = None) -> None:
        self.others = others
        others.append(self)
        self.stopping = asyncio.Event()
        self.fails = fails

    async def run(self) -> None:
        if self.fails is not None:
            raise self.fails
        await asyncio.gather(*(part.stopping.wait() for part in self.others if part.fails is None))

    async def stop(self) -> None:
        self.stopping.set()


async def test_parts_are_told_to_end_at_the_same_time_and_that_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    parts, running = _Parts(asyncio.Event()), list[Part]()
    for _ in range(3):
        parts.add_worker(cast("Any", Part(running)))
    # Each waits until all were told: one after another would never end.
    await asyncio.wait_for(parts.end(), 5)
    assert caplog.records == []


async def test_a_part_that_ends_by_itself_ends_the_process_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    stop = asyncio.Event()
    parts, running = _Parts(stop), list[Part]()
    parts.add_worker(cast("Any", Part(running)))
    parts.add_worker(cast("Any", Part(running, RuntimeError("gone"))))
    await asyncio.wait_for(stop.wait(), 5)
    with pytest.raises(RuntimeError, match="gone"):
        await asyncio.wait_for(parts.end(), 5)
    assert [record.levelno for record in caplog.records] == [logging.ERROR], "said once: the other was told to end"


class Stubborn:
    """An application that goes on after it was cancelled, until it has answered."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False
        self.ended = False

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            await asyncio.sleep(0.05)
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            self.ended = True


async def test_a_request_is_given_up_when_its_patience_ends_and_has_time_for_a_last_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "LAST_REPLIES", 0.3)
    app, settings = Stubborn(), Settings(port=free_port(), shutdown_timeout=0.1)
    given_up: list[bool] = []
    one = _uvicorn(app, settings, lambda: given_up.append(app.cancelled))
    parts = _Parts(asyncio.Event())
    parts.add_server(one, listen(settings.host, settings.port, "SLIPWAY_PORT"))
    await until(lambda: one.started)
    reader, writer = await asyncio.open_connection(settings.host, settings.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.wait_for(app.begun.wait(), 5)
    await asyncio.wait_for(parts.end(), 5)
    assert given_up == [False], "it is told before it is cancelled"
    assert app.ended
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()
