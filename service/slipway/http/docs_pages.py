"""What the API serves about itself: `/openapi.json`, and `/docs` and `/redoc` that load nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway.http.etags import content_tag
from slipway.http.media_types import media_type
from slipway.settings import Settings

DOCUMENT = "/openapi.json"

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
                if any(name == b"content-type" and media_type(value) == "text/html" for name, value in headers):
                    message["headers"] = [*headers, (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def serves_document(settings: Settings) -> bool:
    return settings.debug or settings.openapi


def serves_pages(settings: Settings) -> bool:
    """Only in development; and the image has no files for them."""
    return serves_document(settings) and not settings.production and find_spec("fastapi_offline") is not None


def make_fastapi(settings: Settings, **arguments: Any) -> FastAPI:
    """FastAPI that describes itself as far as the settings say; takes what FastAPI takes."""
    if not serves_pages(settings):
        api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, **arguments)
    else:
        from fastapi_offline import FastAPIOffline  # noqa: PLC0415 - not in the image

        api = FastAPIOffline(docs_url="/docs", redoc_url="/redoc", openapi_url=DOCUMENT, **arguments)
        api.add_middleware(_LocalOnly)
        # Its own route makes the document's bytes anew for each request.
        api.router.routes[:] = [route for route in api.routes if getattr(route, "path", None) != DOCUMENT]
    if serves_document(settings):
        api.router.routes.append(_document(api))
    return api


def _document(api: FastAPI) -> Route:
    @cache
    def rendered() -> tuple[bytes, dict[str, str]]:
        content = orjson.dumps(api.openapi())
        return content, {"ETag": content_tag(content), "Cache-Control": "public, max-age=60"}

    async def read_document(_: Request) -> Response:
        content, headers = rendered()
        return Response(content, 200, headers, "application/json")

    return Route(DOCUMENT, read_document)
