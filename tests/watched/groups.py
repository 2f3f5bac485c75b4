"""A process sees its own control group, and no other, as one in a container does. Needs root."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

_ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """May use `limit` bytes. `command` goes before a program's own words."""

    def __init__(self, limit: int) -> None:
        first = (_ROOT / "memory").is_dir()
        root = _ROOT / "memory" if first else _ROOT
        self._group = root / f"slipway-{secrets.token_hex(4)}"
        self._group.mkdir()
        (self._group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
        enter = f'echo $$ > {self._group}/cgroup.procs && mount --bind {self._group} {root} && exec "$@"'
        self.command = ("unshare", "--mount", "sh", "-c", enter, "sh")

    def remove(self) -> None:
        """Once what ran in it has ended; the kernel needs a moment to see so."""
        end = monotonic() + 5
        while self._group.exists() and monotonic() < end:
            with suppress(OSError):
                self._group.rmdir()
            sleep(0.02)
