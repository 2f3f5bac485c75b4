"""`/docs` and `/redoc` from local files, in debug only, and nothing that they may load from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Redoc shows a logo from its maker's host; the browser is told to load nothing but ours.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; worker-src blob:"
)


class _LocalOnly:
    """Adds the content security policy to HTML replies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                if any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                    message["headers"] = [*headers, (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def fastapi_with_pages(**arguments: Any) -> FastAPI:
    """FastAPI with documentation pages that need no internet; takes what FastAPI takes."""
    from fastapi_offline import FastAPIOffline  # noqa: PLC0415 - not in the image: only where debug is on

    api: FastAPI = FastAPIOffline(docs_url="/docs", redoc_url="/redoc", **arguments)
    api.add_middleware(_LocalOnly)
    return api


def fastapi_without_pages(**arguments: Any) -> FastAPI:
    """FastAPI as it is in production: it describes itself at `/openapi.json` only."""
    return FastAPI(docs_url=None, redoc_url=None, **arguments)
