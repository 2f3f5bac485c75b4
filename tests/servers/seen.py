"""An API that keeps what it was asked, and a client's view of the bytes that came back."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI, Request, Response

from servers.raw_requests import Seen

ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def seeing_api() -> tuple[FastAPI, list[Seen]]:
    """`/early` answers 401 without reading the body; what else isn't `/echo` or `/last` is 404."""
    app = FastAPI(openapi_url=None)
    seen: list[Seen] = []

    async def any_path(request: Request) -> Response:
        path = request.scope["path"]
        if path == "/early":
            return Response(status_code=401)
        body = await request.body()
        seen.append((request.method, path, body))
        return Response(body, 200 if path in {"/echo", "/last"} else 404)

    app.add_api_route("/{path:path}", any_path, methods=ANY_METHOD)
    app.add_api_route("*", any_path, methods=ANY_METHOD)
    return app, seen


@dataclass(frozen=True)
class RawReply:
    status: int
    headers: dict[str, str]
    body: bytes


def replies_in(received: bytes) -> list[RawReply]:
    """All replies in what a connection gave, but 100 Continue; fails on bytes that are none."""
    replies = []
    while received:
        head, separator, received = received.partition(b"\r\n\r\n")
        assert separator, head
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        if status == "100":
            continue
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"])
        assert len(received) >= length
        replies.append(RawReply(int(status), headers, received[:length]))
        received = received[length:]
    return replies
