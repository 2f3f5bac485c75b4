"""Shows figures of passing tests too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def line_writer(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal, whatever pytest captures."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of xdist has no terminal
        return print

    def write(line: str) -> None:
        reporter.ensure_newline()
        reporter.write_line(line)

    return write
