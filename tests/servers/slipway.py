"""Slipway itself, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import httpx

from servers.waiting import free_port

KEPT_FROM_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


def wait_ready(ops: str, ended: Callable[[], str], within: float) -> None:
    """Returns when `/readyz` below the URL says 200; AssertionError with what `ended` says, or when time is over."""
    end = monotonic() + within
    while monotonic() < end:
        if how := ended():
            raise AssertionError(how)
        with suppress(httpx.TransportError):
            if httpx.get(f"{ops}/readyz", timeout=5).status_code == 200:
                return
        sleep(0.02)
    raise AssertionError(f"wasn't ready within {within:g} s")


class SlipwayProcess:
    """`slipway <command>` on free ports; `output` is what it printed so far. `through`: what starts it."""

    def __init__(
        self, command: str, folder: Path, settings: Mapping[str, str] | None = None, through: tuple[str, ...] = ()
    ) -> None:
        self.port, self.ops_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.ops = f"http://127.0.0.1:{self.ops_port}"
        self._command = command
        self._through = through
        self.folder = folder
        self.settings = {
            "SLIPWAY_PORT": str(self.port),
            "SLIPWAY_OPS_PORT": str(self.ops_port),
            "SLIPWAY_DATA_DIR": str(folder / "data"),
            # `run` finds it out itself.
            **({} if command == "run" else {"SLIPWAY_ISSUER": self.base}),
            **(settings or {}),
        }
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.process: subprocess.Popen[str] | None = None

    def spawn(self) -> None:
        kept = {name: os.environ[name] for name in KEPT_FROM_ENVIRONMENT if name in os.environ}
        self._lines = []
        self.process = subprocess.Popen(
            [*self._through, str(Path(sys.executable).parent / "slipway"), *self._command.split()],
            env={**kept, **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def start(self, within: float = 30) -> None:
        """Spawn and wait until `/readyz` says 200."""
        self.spawn()
        self.wait_ready(within)

    def wait_ready(self, within: float = 30) -> None:
        def ended() -> str:
            process = self.process
            assert process is not None
            return "" if process.poll() is None else f"ended with {process.returncode}"

        try:
            wait_ready(self.ops, ended, within)
        except AssertionError as error:
            raise AssertionError(f"slipway {self._command} {error}:\n{self.output}") from None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, within: float = 30) -> int:
        """The exit code, once it has ended and its output is read."""
        assert self.process is not None
        assert self._reader is not None
        code = self.process.wait(within)
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        """End it at once, as a node's failure would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.wait()

    def first_login(self) -> tuple[str, str]:
        """E-mail and password that `slipway run` printed."""
        email = re.search(r"e-mail\s+(\S+)", self.output)
        password = re.search(r"password\s{2,}(\S+)", self.output)
        assert email is not None, self.output
        assert password is not None, self.output
        return email[1], password[1]
