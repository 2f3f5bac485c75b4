"""A real pgbouncer on the node of the cluster that is our own, between Jobs and the demo's PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.model import Cluster
from cluster.settings import Settings
from cluster.waiting import until
from migrating.database import POD

PORT = 6432
START_SECONDS = 10.0


@contextmanager
def pooled(cluster: Cluster, namespace: str, login: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What replaces host and port in a copy of `login` (data of a Secret): sessions are lent for a transaction."""
    settings = Settings.from_environment(os.environ)
    server = cluster.kubectl.json("get", "pod", POD, f"--namespace={namespace}")["status"]["podIP"]
    user, password = (b64decode(login[key]).decode() for key in ("username", "password"))
    with tempfile.TemporaryDirectory(prefix="slipway-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text(f'"{user}" "{password}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={server} port=5432\n[pgbouncer]\nlisten_addr = {settings.node_address}\n"
            f"listen_port = {PORT}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder / 'users'}\n"
            "user = nobody\npool_mode = transaction\nignore_startup_parameters = extra_float_digits,lock_timeout,"
            "statement_timeout,client_connection_check_interval\n"
        )
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        enter = ("nsenter", f"--net={settings.namespace}", "--")
        process = subprocess.Popen([*enter, program, "-q", str(folder / "ini")])  # noqa: S603 - a server of the test
        try:
            until(lambda: _listens(enter, settings.node_address), START_SECONDS)
            yield {"host": settings.node_address, "port": str(PORT)}
        finally:
            process.kill()
            process.wait()


def _listens(enter: tuple[str, ...], address: str) -> bool:
    found = subprocess.run([*enter, "ss", "-Htln"], capture_output=True, check=True, text=True)  # noqa: S603 - as above
    return f"{address}:{PORT}" in found.stdout
