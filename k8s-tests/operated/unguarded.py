"""The operator with guards off, in its own image: `python -m operated.unguarded GUARD …`.

Each function here says which guard is off after it, and stands in `OFF` by its name. It finds no other file of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from slipway_operator import main
from slipway_operator.cluster import ApiError
from slipway_operator.lease import Lease, LostError
from slipway_operator.leases import HOME, Leases
from slipway_operator.logins import postgres
from slipway_operator.logins.connecting import TroubleError


def fences() -> None:
    """It takes no notice of a Lease that it lost, nor of who came later and changed roles since."""
    module = vars(postgres)
    renewed, advanced = Lease.renew, module["_advance"]

    async def renew(self: Lease) -> None:
        with suppress(LostError, ApiError):
            await renewed(self)

    async def advance(connection: Any, pair: postgres.Pair) -> None:
        with suppress(TroubleError):
            await advanced(connection, pair)

    def left(self: Leases, namespace: str) -> float:
        del self, namespace
        return HOME.duration

    Lease.renew = renew  # type: ignore[method-assign]
    Leases.left = left  # type: ignore[method-assign]
    module["_advance"] = advance


OFF: dict[str, Callable[[], None]] = {
    "fences": fences,
}


def switch_off(guards: Iterable[str]) -> None:
    for guard in guards:
        OFF[guard]()


if __name__ == "__main__":
    switch_off(sys.argv[1:])
    main.main(["run"])
