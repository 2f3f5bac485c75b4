"""The control group that holds every pod of the cluster, on machines with version 1 and with version 2."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cluster.errors import ClusterError
from cluster.settings import Settings

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuset", "memory", "pids")


def hierarchies() -> list[Path]:
    """Where control groups are mounted: one folder with version 2, one for each controller with version 1."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted({Path(target) for _, target, kind, *_ in lines if kind in {"cgroup", "cgroup2"}})


def create(settings: Settings) -> None:
    """Make the group, with every controller that kubelet limits pods by."""
    if (ROOT / "cgroup.controllers").exists():
        _create_unified(ROOT / settings.cgroup)
    else:
        _create_by_controller(settings.cgroup)


def _create_unified(group: Path) -> None:
    controllers = " ".join(f"+{name}" for name in NEEDED)
    try:
        (ROOT / "cgroup.subtree_control").write_text(controllers)
        group.mkdir(exist_ok=True)
        (group / "cgroup.subtree_control").write_text(controllers)
    except OSError as error:
        raise ClusterError(f"{ROOT}: the controllers {', '.join(NEEDED)} can't be given to pods: {error}") from None


def _create_by_controller(name: str) -> None:
    for hierarchy in hierarchies():
        group = hierarchy / name
        try:
            group.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # a new group has none, and may then hold no process
                if (group / file).exists():
                    (group / file).write_text((hierarchy / file).read_text())
        except OSError as error:
            raise ClusterError(f"{group}: no control group for pods can be made: {error}") from None


def members(settings: Settings) -> set[int]:
    """Processes of all pods."""
    found: set[int] = set()
    for group in _groups(settings):
        with contextlib.suppress(OSError):  # a group may go while we look
            found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    return found


def remove(settings: Settings) -> None:
    """Every group, deepest first; processes must have ended."""
    for group in _groups(settings):
        with contextlib.suppress(FileNotFoundError):
            group.rmdir()


def _groups(settings: Settings) -> list[Path]:
    tops = [hierarchy / settings.cgroup for hierarchy in hierarchies()]
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]
