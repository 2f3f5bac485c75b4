"""How many requests a process works on, and how many unfinished bodies it waits for.

The rule: a request counts against `max_concurrency` except while the application waits for its body. All together may
wait for at most `max_concurrency` bodies (64 at least), one client (user or address, as for the rate limit) for a
quarter of those, and a body must be whole `BODY_TIMEOUT` after its request came. So a client that sends slowly takes no
place from anybody, and hardly one of those who send slowly too. A body that is whole needs a place again, else 503.
How much one client may have worked on is the rate limit's to say.
"""

from __future__ import annotations

from collections.abc import Sized

from slipway.http.problems import RateLimitedError, UnavailableError

BODY_TIMEOUT = 5.0
"""Seconds from a request's head until its body must be whole; then 503 `deadline_exceeded`."""
FEWEST_WAITING = 64

BUSY = "More requests are running than this process takes on; try again shortly."


class Load:
    """The counts of one process; `in_flight` holds all its requests, those that wait for their bodies too."""

    def __init__(self, max_concurrency: int, in_flight: Sized) -> None:
        self._in_flight = in_flight
        self._max_working = max_concurrency
        self._max_waiting = max(FEWEST_WAITING, max_concurrency)
        self._waiting = 0
        self._waiting_by_client: dict[str, int] = {}

    def check(self) -> None:
        """Whether the process can work on the request that asks, which is in flight. Raises UnavailableError."""
        if len(self._in_flight) - self._waiting > self._max_working:
            raise UnavailableError(BUSY)

    def begin_waiting(self, client: str) -> None:
        """A request waits for its body; `end_waiting` must follow. Raises RateLimitedError, UnavailableError."""
        of_client = self._waiting_by_client.get(client, 0)
        if of_client >= self._max_waiting // 4:
            raise RateLimitedError("Too many unfinished requests: send each one whole.", retry_after=0)
        if self._waiting >= self._max_waiting:
            raise UnavailableError(BUSY)
        self._waiting += 1
        self._waiting_by_client[client] = of_client + 1

    def end_waiting(self, client: str) -> None:
        self._waiting -= 1
        left = self._waiting_by_client.pop(client) - 1
        if left:
            self._waiting_by_client[client] = left
