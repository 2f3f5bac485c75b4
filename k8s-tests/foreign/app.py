"""A greeting and a health page: an ASGI application that knows nothing of Slipway."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

PAGES = {"/": b"hello from elsewhere\n", "/-/healthy": b"fine\n"}

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:  # noqa: ARG001 - ASGI's three
    page = PAGES.get(scope["path"])
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404 if page is None else 200, "headers": headers})
    await send({"type": "http.response.body", "body": page or b"no such page\n"})
