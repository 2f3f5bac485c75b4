"""The API server's clock, by which all is told that a status remembers: what one operator began, another ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any

from slipway_operator.conditions import Condition

log = logging.getLogger(__name__)

GRAIN = 1.0
"""Seconds: a reply's `Date` leaves out the rest."""
FOLLOWED = 1.0
"""Seconds by which it may go ahead of our own monotonic clock between two replies, such as when it is adjusted."""
SKEWED = 5.0
"""Seconds by which clocks may differ before that is told."""
REMEMBERED = 600.0
"""Seconds for which a jump is told: where two servers answer in turn, that is seen now and then."""
CONDITION = "ClockSkewed"


def awake() -> float:
    """Seconds of a clock that runs on while this process is stopped, or its machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ServerClock:
    """Seconds since the epoch; between two replies by our own monotonic clock, which nobody sets.

    Never early within one process: of all moments that the replies allow for it is the latest, which comes closer with
    each. A server whose clock is set ahead, or another server with such a clock, isn't followed: what waits for an hour
    waits for an hour. One that goes back is. Before the first reply it is the machine's own clock.
    """

    def __init__(self, monotonic: Callable[[], float] = awake, own: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._own = own
        self._low, self._high = -inf, inf
        self._jumped_at = -inf
        self._told = ""

    def __call__(self) -> float:
        return self._own() if self._high == inf else self._monotonic() + self._high

    def began(self) -> float:
        """A moment for `heard`."""
        return self._monotonic()

    def heard(self, date: str | None, began: float) -> None:
        """A reply with that `Date`, to what was sent when `began`. What is no date tells nothing."""
        server = moment(date)
        if server is None:
            return
        low, high = server - self._monotonic(), server + GRAIN - began
        ahead = low - self._high
        if ahead > SKEWED:
            self._jumped_at = self._monotonic()
        if ahead <= 0 and high >= self._low:
            self._low, self._high = max(self._low, low), min(self._high, high)
        elif ahead <= FOLLOWED:
            self._low, self._high = low, high
        self._tell()

    def skew(self) -> float:
        """Seconds that this machine's clock is ahead of the server's; 0 within what isn't known for certain."""
        if self._high == inf:
            return 0.0
        offset = self._own() - self._monotonic()
        return max(0.0, offset - self._high) + min(0.0, offset - self._low)

    def condition(self) -> Condition:
        """Of a status: False says that its times are the API server's. It stays the same while nothing changes."""
        if self._monotonic() - self._jumped_at < REMEMBERED:
            text = (
                "The API server's clock was set ahead, or several API servers have clocks that differ. What waits goes "
                "on as it was; with an operator that starts now it begins anew. Correct the control plane's clocks."
            )
            return Condition(CONDITION, "True", "ServerClockJumped", text)
        if abs(self.skew()) > SKEWED:
            where = "ahead of" if self.skew() > 0 else "behind"
            text = (
                f"The clock of the operator's node is more than {SKEWED:.0f} s {where} the API server's. The API "
                "server's counts; but pods on that node make tokens by its clock. Correct it."
            )
            return Condition(CONDITION, "True", "NodeClockDiffers", text)
        return Condition(CONDITION, "False", "ClocksAgree", "Times are told by the API server's clock.")

    def goes_on(self, status: Mapping[str, Any]) -> bool:
        """Whether another process's times in a status can be held against this clock's.

        Where clocks differ just now, the server's may have been set while no operator looked.
        """
        return reliable(status) and self.condition().status == "False"

    def _tell(self) -> None:
        found = self.condition()
        wrong = found.message if found.status == "True" else ""
        if wrong != self._told:
            level = logging.WARNING if wrong else logging.INFO
            log.log(level, "%s: %s (%+.1f s)", found.reason, found.message, self.skew())
            self._told = wrong


def moment(date: str | None) -> float | None:
    """Seconds since the epoch of a `Date`, to the second; None: it is none."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None


def reliable(status: Mapping[str, Any]) -> bool:
    """Whether its times are an API server's, with which nothing was wrong. Releases before told them by their own."""
    conditions = status.get("conditions") or ()
    return any(one["type"] == CONDITION and one["status"] == "False" for one in conditions)
