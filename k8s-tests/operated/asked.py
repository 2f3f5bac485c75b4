"""`kubectl slipway status` as somebody types it: the installed program, kubectl's own, a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError
from cluster.model import Cluster

PROGRAM = Path(sys.executable).with_name("kubectl-slipway")


def status(cluster: Cluster, namespace: str, *arguments: str, output: str = "json") -> tuple[int, Any]:
    """The exit code, and the report: parsed, or the text that people read."""
    kubectl = cluster.kubectl
    given = [f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={namespace}", f"--output={output}", *arguments]
    done = subprocess.run(  # noqa: S603 - what is installed here
        [PROGRAM, "status", *given],
        env={**os.environ, **kubectl.environment, "PATH": f"{kubectl.path.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.stderr:
        raise ClusterError(done.stderr)
    return done.returncode, json.loads(done.stdout) if output == "json" else done.stdout
