"""Sees each change of a Deployment's replicas, also those too short to be found by looking again and again."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from load.looking import seen

TEMPLATE = 'jsonpath={.spec.replicas},{.status.readyReplicas}{"\\n"}'


@dataclass
class Replicas:
    """What was wanted and what was ready, change by change, oldest first."""

    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)

    def note(self, line: str) -> None:
        for numbers, text in zip((self.wanted, self.ready), line.strip().split(","), strict=True):
            number = int(text or 0)
            if numbers[-1:] != [number]:
                numbers.append(number)


@contextmanager
def replicas_watched(kubectl: Kubectl, namespace: str, deployment: str = "slipway") -> Iterator[Replicas]:
    """Fills while the body runs. The first entry is how it was before.

    Raises ClusterError when the watch ended before the body did.
    """
    noted = Replicas()
    command = [str(kubectl.path), f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={namespace}"]
    command += ["get", "deployment", deployment, "--watch", f"--output={TEMPLATE}"]
    own = {**os.environ, **kubectl.environment}
    process = subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)  # noqa: S603 - kubectl

    def read() -> None:
        for line in process.stdout or ():
            noted.note(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        seen(lambda: bool(noted.wanted), 15, f"the first look at deployment {deployment}")
        yield noted
        if process.poll() is not None:
            raise ClusterError(f"the watch of {deployment} ended early, with code {process.returncode}: {noted}")
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
        if process.stdout is not None and not reader.is_alive():
            process.stdout.close()
    if reader.is_alive():
        raise ClusterError(f"the watch of {deployment} was not read to its end: {noted}")
