"""Servers that restart in the middle of something, and programs that answer nobody for a while."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster import binaries, control_plane
from cluster.errors import ClusterError
from cluster.model import Cluster
from cluster.processes import Processes, start_time
from cluster.progress import Progress, to_stderr
from cluster.settings import Settings
from load.looking import seen
from migrating.database import POD

API_SERVER = "kube-apiserver"
API_SECONDS = 60.0


def api_server_restarted() -> None:
    """SIGKILL to the API server of the cluster that is our own, and another one in its place, ready."""
    settings = Settings.from_environment(os.environ)
    processes = Processes(settings)
    record = json.loads((settings.folder / "processes" / f"{API_SERVER}.json").read_text(encoding="utf-8"))
    program = binaries.ensure(binaries.KUBERNETES, settings.cache, Progress(to_stderr)) / API_SERVER
    if start_time(record["pid"]) == record["started"]:
        _killed(record["pid"], 10)
    processes.start(API_SERVER, control_plane.api_server(settings, program))
    processes.wait(API_SERVER, lambda: control_plane.ready(settings), API_SECONDS, "ready API")


def _killed(pid: int, within: float) -> None:
    """Returns when its last thread has ended, and its port is free: the first one may be gone long before."""
    held = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        if not select.select([held], [], [], within)[0]:
            raise ClusterError(f"process {pid} didn't end within {within:g} s of its SIGKILL")
    finally:
        os.close(held)


@contextmanager
def kubelet_away() -> Iterator[None]:
    """The node of the cluster that is our own answers nobody; its containers run on."""
    settings = Settings.from_environment(os.environ)
    record = json.loads((settings.folder / "processes" / "kubelet.json").read_text(encoding="utf-8"))
    with _stopped(record["pid"]):
        yield


@contextmanager
def container_away(cluster: Cluster, namespace: str, pod: str) -> Iterator[None]:
    """The first process of a pod's first container stands still, on this machine."""
    status = cluster.kubectl.json("get", "pod", pod, f"--namespace={namespace}")["status"]
    with _stopped(_first_process(status["containerStatuses"][0]["containerID"].split("://")[1])):
        yield


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _first_process(container: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ids = (process / "status").read_text().split("NSpid:")[1].splitlines()[0].split()
            if ids[-1] == "1" and container in (process / "cgroup").read_text():
                return int(process.name)
    raise ClusterError(f"no process is the first of container {container}")


def database_restarted(cluster: Cluster, namespace: str) -> None:
    """PostgreSQL ends at once, every connection with it, and is started again on its data."""
    before = _restarts(cluster, namespace)
    inside = ("exec", POD, "--container=postgresql", f"--namespace={namespace}", "--")
    cluster.kubectl.run(*inside, "sh", "-c", 'pg_ctl --pgdata="$PGDATA" --mode=immediate --no-wait stop')
    seen(lambda: _restarts(cluster, namespace) > before, 30, "the restart of PostgreSQL")
    cluster.kubectl.wait(f"pod/{POD}", "Ready", namespace)


def _restarts(cluster: Cluster, namespace: str) -> int:
    status = cluster.kubectl.json("get", "pod", POD, f"--namespace={namespace}")["status"]
    return sum(container["restartCount"] for container in status["containerStatuses"])
