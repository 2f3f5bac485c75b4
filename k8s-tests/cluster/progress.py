"""One line for each step that is done, with the time it took."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic


def _print_at_once(line: str) -> None:
    print(line, flush=True)


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Writes lines to `write`; silent when that is given as `str.strip` or the like."""

    def __init__(self, write: Callable[[str], object] = _print_at_once) -> None:
        self._write = write

    def say(self, line: str) -> None:
        self._write(f"         {line}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """The line appears when the step is done; a step that fails says after how long."""
        begin = monotonic()
        try:
            yield
        except BaseException:
            self._write(f"{monotonic() - begin:6.1f} s  {what}: failed")
            raise
        self._write(f"{monotonic() - begin:6.1f} s  {what}")
