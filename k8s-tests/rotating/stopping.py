"""The operator, stopped once (SIGSTOP) right before one of its changes, after every check, until it is told to go on.

`python -m rotating.stopping CHANGE GUARD …`: the guards are off, as in operated/unguarded.py.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from operated.unguarded import switch_off
from slipway_operator import main
from slipway_operator.keyrings import apply as keyrings
from slipway_operator.leases import Leases
from slipway_operator.logins import apply as logins
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
            say(f"stopped {os.getpid()}.")
            os.kill(os.getpid(), signal.SIGSTOP)
            say("goes on")
        return seconds

    setattr(module, name, change)


def run(change: str, *guards: str) -> None:
    child = os.fork()
    if child:
        # Whoever is PID 1 of the container is never stopped: its end would end the log, too.
        _, status = os.waitpid(child, 0)
        say(f"ended with {os.waitstatus_to_exitcode(status)}")
        return
    switch_off(guards)
    armed(*EFFECTS[change])
    main.main(["run"])


if __name__ == "__main__":
    run(*sys.argv[1:])
