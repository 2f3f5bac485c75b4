"""Standard output, which nobody may read: it was closed from the start, or who read it has seen enough."""

from __future__ import annotations

import os
import sys

_STANDARD = (0, 1, 2)


def hold_standard_streams() -> None:
    """Make those that came closed lead nowhere: the next files and sockets would get their numbers else."""
    while (opened := os.open(os.devnull, os.O_RDWR)) in _STANDARD:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above


def is_taken(data: bytes) -> bool:
    """Print now; whether somebody reads on. What a command does beside printing is done all the same."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def tell(line: str) -> None:
    """Print a line, which nobody has to read."""
    is_taken(f"{line}\n".encode())
