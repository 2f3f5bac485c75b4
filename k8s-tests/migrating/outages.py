"""Servers that restart in the middle of something."""

from __future__ import annotations

import json
import os
import signal

from cluster import binaries, control_plane
from cluster.model import Cluster
from cluster.processes import Processes, start_time
from cluster.progress import Progress, to_stderr
from cluster.settings import Settings
from cluster.waiting import until
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
        os.kill(record["pid"], signal.SIGKILL)
    until(lambda: start_time(record["pid"]) != record["started"], 10)
    processes.start(API_SERVER, control_plane.api_server(settings, program))
    until(lambda: control_plane.ready(settings), API_SECONDS)


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
