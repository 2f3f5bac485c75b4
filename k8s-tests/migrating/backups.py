"""A CronJob that never runs by itself, from which the operator makes the backup before a contract."""

from __future__ import annotations

from typing import Any

from migrating.life import Life

NAME = "backup"
VALUES = {"backup": {"cronJobName": NAME}}
"""Of `migrations`."""
DONE = "print('all of it is safe')"
LET_GO = "/tmp/go"  # noqa: S108 - in the container
"""A pipe, unless it is let go before there is one: then a file."""
LONGEST_HOLD = 300
HELD = f"""
import contextlib, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: sys.exit(1))
signal.alarm({LONGEST_HOLD})
with contextlib.suppress(FileExistsError):
    os.mkfifo({LET_GO!r})
open({LET_GO!r}).read()
{DONE}
"""


def make_backups(life: Life, image: str, *, held: bool = False) -> None:
    """`held`: each lasts until `let_go`. `image` has Python."""
    container = {
        "name": NAME,
        "image": image,
        "command": ["python", "-c", HELD if held else DONE],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    cron_job: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": NAME}, "spec": spec}
    life.cluster.kubectl.apply([cron_job], life.namespace)


def let_go(life: Life) -> None:
    """The one backup that there is ends now."""
    (job,) = life.migration.jobs("backup")
    life.cluster.kubectl.run("exec", f"job/{job['metadata']['name']}", life.scope, "--", "sh", "-c", f"echo > {LET_GO}")
