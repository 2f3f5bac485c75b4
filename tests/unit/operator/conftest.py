"""Time that passes only when nobody is busy, and a server that says what a test wants to hear."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

import kopf
import pytest
from aiohttp import web

from slipway_operator.cluster import Api


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to whatever is due next instead of waiting for it."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self.now


class JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("Nothing is left that could happen.")
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


@pytest.fixture
def in_no_time() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine to its end on such a loop."""

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(work)

    return run


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class ScriptedServer:
    """Answers one request after another with `answers`, the last one for ever; None hangs up, "slow" never answers."""

    url: str = ""
    answers: list[Answer | Literal["slow"] | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    token: str = "first"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
        told = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if told is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if told == "slow":
            await asyncio.Event().wait()
        status, content, *headers = told
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status, text=text, headers=headers[0] if headers else {})

    def login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self.url, token=self.token)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
async def api(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr("slipway_operator.cluster.LONGEST_PAUSE", 0.01)
    async with Api(server.login) as opened:
        yield opened
