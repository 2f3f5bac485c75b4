"""A connection in memory, whose every piece and moment a test decides."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from slipway.edge.protocol import BoundedProtocol

TURNS = 6
"""Of the event loop: enough for the application to answer what it has."""


class Wire(asyncio.Transport):
    """A connection in memory, which delivers in exactly the pieces that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""
        self.closed = False
        self.ended = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()

    async def deliver(self, protocol: asyncio.Protocol, pieces: list[bytes], pauses: list[bool]) -> bytes:
        """What came back, once the server ended the connection; before a piece with a pause the application may run."""
        for piece, pause in zip(pieces, pauses, strict=True):
            await self.readable.wait()
            for _ in range(TURNS * pause):
                await asyncio.sleep(0)
            if self.closed:
                break
            protocol.data_received(piece)
        await asyncio.wait_for(self.ended.wait(), 5)
        protocol.connection_lost(None)
        return self.received

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.ended.is_set()
        self.received += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closed = True
        self.ended.set()

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()


def unwrapped(app: Any) -> uvicorn.Config:
    """What a protocol is told of a server that serves just this application."""
    config = uvicorn.Config(app, http=BoundedProtocol, lifespan="off", log_config=None, ws="none")
    config.load()
    return config


def connected(config: uvicorn.Config) -> tuple[Wire, BoundedProtocol]:
    wire, protocol = Wire(), BoundedProtocol(config, ServerState(), {})
    protocol.connection_made(wire)
    return wire, protocol
