"""`slipway serve --reload`: serve anew whenever a Python file of the package changes. For development only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from socket import socket

import uvicorn
from uvicorn.supervisors.statreload import StatReload


class _Reload(StatReload):
    """Knows the files as they were before a process started: a change while it starts is a change, too."""

    def startup(self) -> None:
        seen = self._times()
        super().startup()
        self.mtimes = seen

    def restart(self) -> None:
        seen = self._times()
        super().restart()
        self.mtimes = seen

    def _times(self) -> dict[Path, float]:
        return {file: file.stat().st_mtime for file in self.iter_py_files() if file.exists()}


def serve_with_reload(target: Callable[[list[socket] | None], None]) -> None:
    """Run `target` in a process of its own, again after each change, until SIGINT or SIGTERM.

    A change that breaks the code ends that process with its traceback; the next change starts it again.
    """
    # Only the folders to watch are used: `target` makes the server, as `slipway serve` does.
    config = uvicorn.Config("slipway", log_config=None, reload=True, reload_dirs=[str(Path(__file__).parents[1])])
    _Reload(config, target, []).run()
