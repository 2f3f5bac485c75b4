"""The cluster's own programs, started in its namespaces, and the end of everything that runs there.

A process id alone may be another program's by now; with the start time that the kernel keeps it is unique.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import cgroups, mounts
from cluster.commands import tail
from cluster.errors import ClusterError
from cluster.packages import SEARCHED
from cluster.settings import Settings
from cluster.waiting import until

STOP_WITHIN = 20.0
START_TIME_FIELD = 19  # counted after the program's name, which may hold spaces


class ComponentError(ClusterError):
    """A program of the cluster ended by itself, or doesn't do what was awaited."""

    def __init__(self, name: str, fault: str, log: Path) -> None:
        last = tail(log.read_text(errors="replace")) if log.exists() else ""
        super().__init__(f"{name} {fault}; the last lines of {log}:\n{last}")


def start_time(pid: int) -> int | None:
    """Clock ticks between boot and the start of a process; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[START_TIME_FIELD])


class Processes:
    """Starts programs, and remembers them in files, so that another run can tell which are ours."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records = settings.folder / "processes"

    def log(self, name: str) -> Path:
        return self._settings.logs / f"{name}.log"

    def start(self, name: str, arguments: Sequence[str | Path]) -> None:
        """In the cluster's network and mounts, in a session of its own; output goes to its log."""
        self._settings.logs.mkdir(parents=True, exist_ok=True)
        self._records.mkdir(parents=True, exist_ok=True)
        command = [*mounts.enter(self._settings)[:-1], "--wd=/", "--", *(str(word) for word in arguments)]
        pid = os.posix_spawnp(
            command[0],
            command,
            {"PATH": SEARCHED},  # no proxy, no Go setting of whoever calls
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        record = {"pid": pid, "started": start_time(pid)}
        (self._records / f"{name}.json").write_text(json.dumps(record))

    def alive(self) -> dict[str, bool]:
        """Every program that was started → whether it still runs."""
        found: dict[str, bool] = {}
        for path in sorted(self._records.glob("*.json")):
            record = json.loads(path.read_text())
            found[path.stem] = record["started"] is not None and start_time(record["pid"]) == record["started"]
        return found

    def check(self) -> None:
        """ComponentError for the first program that has ended."""
        for name, alive in self.alive().items():
            if not alive:
                raise ComponentError(name, "ended", self.log(name))

    def wait(self, name: str, look: Callable[[], bool], within: float, what: str) -> None:
        """Until `look` is true. ComponentError for any program that ends, and for `name` after `within` seconds."""

        def seen() -> bool:
            self.check()
            return look()

        try:
            until(seen, within)
        except TimeoutError:
            raise ComponentError(name, f"brought no {what} within {within:g} s", self.log(name)) from None


def running(settings: Settings) -> set[int]:
    """Everything in the cluster: whatever is in its network namespace (also containerd's shims), and all pods."""
    return _in_network(settings.namespace) | cgroups.members(settings)


def end_all(settings: Settings) -> None:
    """Kill all of it, again until nothing is left: what is killed may just have started something."""
    killed: set[int] = set()

    def ended() -> bool:
        found = running(settings)
        for pid in found:
            if _kill(pid, settings):
                killed.add(pid)
        return not found

    try:
        until(ended, STOP_WITHIN)
    except TimeoutError:
        raise ClusterError(f"processes of {settings.name} don't end: {sorted(running(settings))}") from None
    for pid in killed:
        with contextlib.suppress(ChildProcessError):  # most are not ours to wait for
            os.waitpid(pid, 0)


def _kill(pid: int, settings: Settings) -> bool:
    """False when it ended meanwhile: its number may be another program's by now, so we look again while we hold it."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if pid not in running(settings):
            return False
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(held)
    return True


def _in_network(namespace: Path) -> set[int]:
    try:
        wanted = namespace.stat()
    except FileNotFoundError:
        return set()
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            seen = (folder / "ns" / "net").stat()
            if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.add(int(folder.name))
    return found - {os.getpid()}
