"""Connections to the API server: a bounded number for calls, and one for each watch."""

from __future__ import annotations

import aiohttp
import kopf


class Connections:
    """RuntimeError outside of `open` and `close`. Who opens a watch bounds their number; timeouts are the callers'."""

    def __init__(self, calls_at_a_time: int) -> None:
        self._at_a_time = calls_at_a_time
        self._calls: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None

    @property
    def calls(self) -> aiohttp.ClientSession:
        return _opened(self._calls)

    @property
    def watches(self) -> aiohttp.ClientSession:
        return _opened(self._watches)

    def open(self, credentials: kopf.ConnectionInfo) -> None:
        def session(limit: int) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(ssl=credentials.as_ssl_context(), limit=limit)
            return aiohttp.ClientSession(connector=connector)

        self._calls, self._watches = session(self._at_a_time), session(0)

    async def close(self) -> None:
        for session in (self._calls, self._watches):
            if session is not None:
                await session.close()


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("Api is used outside of `async with`.")
    return session
