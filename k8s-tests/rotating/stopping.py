"""Runs the operator in its own image, and stops it once (SIGSTOP) right before one of its changes, after every check.

For `python -c`: arguments are the change, the seconds for which it is stopped, and `fenced`, or `unfenced` for the
control, whose Lease and terms keep nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from slipway_operator import main
from slipway_operator.cluster import ApiError
from slipway_operator.keyrings import apply as keyrings
from slipway_operator.lease import Lease, LostError
from slipway_operator.leases import Leases
from slipway_operator.logins import apply as logins
from slipway_operator.logins import postgres
from slipway_operator.logins.connecting import TroubleError
from slipway_operator.logins.model import HandOver, PrepareRoles, Scramble
from slipway_operator.migrations import apply as migrations

EFFECTS: dict[str, tuple[Any, str, type]] = {
    "keyring-secret": (keyrings, "effect", dict),
    "login-prepare": (logins, "_done", PrepareRoles),
    "login-hand-over": (logins, "_done", HandOver),
    "login-scramble": (logins, "_done", Scramble),
    "login-secret": (logins, "store", dict),
    "migration-job": (migrations, "effect", dict),
}
"""Where each change is made, and what its last argument is then."""


def say(text: str) -> None:
    print(f"stopping: {text}", flush=True)  # noqa: T201 - the test reads it


def armed(module: Any, name: str, kind: type) -> None:
    """The next question whether a change may begin, within that one, is answered, and then the process stops."""
    real, held, waiting = getattr(module, name), Leases.left, [True]

    async def change(*arguments: Any) -> Any:
        if waiting and isinstance(arguments[-1], kind):
            Leases.left = stops  # type: ignore[method-assign]
        return await real(*arguments)

    def stops(self: Leases, namespace: str) -> float:
        seconds = held(self, namespace)
        Leases.left = held  # type: ignore[method-assign]
        if waiting.pop():
            say("stopped")
            os.kill(os.getpid(), signal.SIGSTOP)
            say("goes on")
        return seconds

    setattr(module, name, change)


def unfenced() -> None:
    """It takes no notice of what it lost, nor of who came later."""

    async def advance(connection: Any, pair: postgres.Pair) -> None:
        with suppress(TroubleError):
            await advanced(connection, pair)

    async def renew(self: Lease) -> None:
        with suppress(LostError, ApiError):
            await renewed(self)

    module = vars(postgres)
    renewed, advanced = Lease.renew, module["_advance"]
    Lease.renew = renew  # type: ignore[method-assign]
    module["_advance"] = advance


def parent(child: int, seconds: float) -> int:
    """Let the child that stops itself go on after so long; its exit code."""
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            time.sleep(seconds)
            os.kill(child, signal.SIGCONT)
        else:
            return os.waitstatus_to_exitcode(status)


def run(change: str, seconds: float, guards: str) -> None:
    child = os.fork()
    if child:
        code = parent(child, seconds)
        say(f"ended with {code}")
        return
    if guards == "unfenced":
        unfenced()
    armed(*EFFECTS[change])
    main.main(["run"])


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), sys.argv[3])
