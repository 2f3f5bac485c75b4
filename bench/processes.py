"""Servers as processes of their own: pinned to a core, waited for, measured, and ended whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep

from bench.asking import answers

HERE = Path(__file__).parent
KEPT_FROM_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR")
SLIPWAY = str(Path(sys.executable).with_name("slipway"))


class ServerError(RuntimeError):
    """A server ended, or wasn't ready in time; the message ends with its last lines."""


def split_cores() -> tuple[int, set[int]]:
    """The core of the service under load, and those of all the rest, this process and its children included."""
    service, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise SystemExit("The benchmark needs two cores: one for the service, one for the load and the databases.")
    os.sched_setaffinity(0, others)
    return service, set(others)


class Server:
    """One process on one core. `ready_port` and `ready_path` say 200 once it works."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        ready_port: int,
        ready_path: str,
        core: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.ready_port = ready_port
        self._command = command if core is None else ["taskset", "--cpu-list", str(core), *command]
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._ready_path = ready_path
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, within: float = 30) -> float:
        """Start and wait until it is ready; the seconds that took. Raises ServerError."""
        kept = {name: os.environ[name] for name in KEPT_FROM_ENVIRONMENT if name in os.environ}
        began = perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env={**kept, **self._settings}, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        while not answers(self.ready_port, self._ready_path):
            if self._process.poll() is not None or perf_counter() - began > within:
                self.stop()
                raise ServerError(f"{self.name} isn't ready after {perf_counter() - began:.1f} s:\n{self.last_lines()}")
            sleep(0.005)
        return perf_counter() - began

    def stop(self) -> None:
        """End it by SIGTERM, after 15 s by SIGKILL; nothing where it has ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    def last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])

    def _pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} isn't running.")
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU time that the process and its threads have used so far, to a hundredth."""
        fields = Path(f"/proc/{self._pid()}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, kind: str = "VmRSS") -> float:
        """Resident memory in MiB: now (`VmRSS`) or at most so far (`VmHWM`)."""
        status = Path(f"/proc/{self._pid()}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{kind}:"))


def python(script: str, port: int) -> list[str]:
    """A command that runs a script of this folder without putting the folder on Python's path."""
    return [sys.executable, "-P", str(HERE / script), str(port)]


def run_once(command: Sequence[str], settings: Mapping[str, str], folder: Path, within: float = 120) -> None:
    """Run a command to its end. Raises ServerError with what it said when that isn't success."""
    kept = {name: os.environ[name] for name in KEPT_FROM_ENVIRONMENT if name in os.environ}
    done = subprocess.run(
        command, env={**kept, **settings}, cwd=folder, capture_output=True, text=True, timeout=within, check=False
    )
    if done.returncode != 0:
        raise ServerError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
