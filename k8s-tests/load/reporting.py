"""Shows figures of passing tests too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def line_writer(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal, whatever pytest captures."""
    capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", flush=True)

    return write
