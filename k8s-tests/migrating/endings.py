"""What an image's own code may do to the runner of foreign images, and how the status tells it."""

from __future__ import annotations

from typing import Any, NamedTuple

from migrating.life import Life
from migrating.notes import OWNER
from migrating.plain import deployment, migration
from migrating.resource import Migration

NAME = "endings"
SECRET = "told-to-nobody"  # noqa: S105 - what no status, event or log may repeat
IMAGE = "plain-alembic:first"
INI = "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = postgresql://\n"


class Ending(NamedTuple):
    """`env_py` None: there is no such folder. `part`: what the message has."""

    env_py: str | None
    reason: str
    part: str


ENDINGS = {
    "exits": Ending(f"raise SystemExit('{SECRET}')", "MigrationFailed", "SystemExit at env.py:1"),
    "exits-well": Ending("raise SystemExit(0)", "MigrationFailed", "SystemExit at env.py:1"),
    "vanishes": Ending("import os; os._exit(3)", "CommandFailed", "ended with exit code 3"),
    "vanishes-well": Ending("import os; os._exit(0)", "PlanUnreadable", "no plan"),
    "crashes": Ending("import ctypes; ctypes.string_at(0)", "CommandFailed", "was ended by SIGSEGV"),
    "devours": Ending("b'x' * (1 << 30)", "OutOfMemory", "raise the limit"),
    "stopped": Ending(
        "import os, threading; os.kill(1, 3); threading.Event().wait()", "MigrationFailed", "ended by SIGQUIT"
    ),
    "idle": Ending("from alembic import context", "MigrationFailed", "without context.run_migrations()"),
    "mistyped": Ending(f"first = 1\nsecond = = '{SECRET}'", "MigrationFailed", "SyntaxError at env.py:2"),
    "asynchronous": Ending("import sqlalchemy.ext.asyncio", "MigrationFailed", "ImportError of greenlet"),
    "absent": Ending(None, "RevisionsUnreadable", "can't be read: No such file or directory"),
}


def endings(life: Life) -> dict[str, Migration]:
    """Each by a resource of its own that plans once; one Deployment without pods has the files."""
    there = {name: ending.env_py for name, ending in ENDINGS.items() if ending.env_py is not None}
    texts = {"alembic.ini": INI, "empty": "", **{f"{name}.py": text for name, text in there.items()}}
    items = [
        item
        for name in there
        for item in (
            {"key": "alembic.ini", "path": f"{name}/alembic.ini"},
            {"key": f"{name}.py", "path": f"{name}/migrations/env.py"},
            {"key": "empty", "path": f"{name}/migrations/versions/empty"},
        )
    ]
    limited = {"limits": {"memory": "160Mi"}, "requests": {"memory": "32Mi"}}
    made = deployment(NAME, IMAGE, resources=limited, volumeMounts=[{"name": NAME, "mountPath": f"/{NAME}"}])
    made["spec"]["template"]["spec"]["volumes"] = [{"name": NAME, "configMap": {"name": NAME, "items": items}}]
    files = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": texts}
    life.cluster.kubectl.apply([files, made, *map(_wish, ENDINGS)], life.namespace)
    return {name: Migration(life.cluster, life.namespace, name) for name in ENDINGS}


def _wish(name: str) -> dict[str, Any]:
    wish = migration(name, IMAGE, OWNER, config=f"/{NAME}/{name}/alembic.ini", retries=0)
    wish["spec"]["workload"]["name"] = NAME
    return wish
