"""What the commands tell, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from typing import Any, NoReturn

PREFIX, MESSAGE = "slipway.dev/v1 ", 1000


class Failure(Exception):  # noqa: N818 - what ends a command need not be an error of ours
    """`lasting`: only a person, or another image, can mend it."""

    def __init__(self, reason: str, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.reason, self.lasting = reason, lasting


def lacking(error: ImportError) -> str:
    """The module that isn't there, also where a library told it in words of its own; empty when it isn't known."""
    found: BaseException | None = error
    while isinstance(found, ImportError):
        if found.name:
            return found.name
        found = found.__cause__ or found.__context__
    return ""


class Output:
    """Lines on the real stdout, whatever env.py does to `sys.stdout`; with the last one the process ends."""

    def __init__(self, *, marked: bool) -> None:
        self._marked, self._stdout, self._lock = marked, os.dup(1), threading.RLock()

    def line(self, type_: str, plain: str, **fields: Any) -> None:
        document = json.dumps({"type": type_, **fields}, separators=(",", ":"))
        with self._lock:
            os.write(self._stdout, (f"{PREFIX}{document}\n" if self._marked else f"{plain}\n").encode())

    def say(self, message: str, reason: str = "") -> None:
        fields = {"reason": reason} if reason else {}
        self.line("waiting" if reason else "working", message, **fields, message=message[:MESSAGE])

    def end(self, code: int, type_: str, plain: str, **fields: Any) -> NoReturn:
        with self._lock:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            self.line(type_, plain, **fields)
            os._exit(code)  # not sys.exit: what the application prints at its end would come after the last line

    def fail(self, error: Failure, code: int = 1) -> NoReturn:
        told = {"reason": error.reason, "message": str(error)[:MESSAGE], "lasting": error.lasting}
        self.end(code, "failed", f"Error: {error} ({error.reason})", **told)

    def fail_after(self, seconds: float, reason: str, message: str) -> threading.Timer:
        """End the process then, also out of a driver's call that doesn't come back."""
        timer = threading.Timer(seconds, self.fail, [Failure(reason, message)])
        timer.daemon = True
        timer.start()
        return timer
