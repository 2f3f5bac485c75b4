"""Makes sure that the programs tests need are here: installs Debian packages as root, otherwise says which are missing.

Standard library only, because it runs before anything is installed. Arguments: programs to look for (default: all).
"""

from __future__ import annotations

import glob
import os
import random
import shutil
import subprocess
import sys
import time

PACKAGES = {
    "redis-server": "redis-server",
    "chromium": "chromium",
    "wrk": "wrk",
    "postgres": "postgresql",
    "pgbouncer": "pgbouncer",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""Program → Debian package that has it."""

FOR_TESTS = ("redis-server", "chromium", "postgres", "pgbouncer", "prometheus", "prometheus-alertmanager")

SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
"""Debian keeps servers where not every user's PATH looks."""

LOCK_SECONDS = 300
"""How long another apt may hold its locks: a machine that has just started updates itself."""
RUN_SECONDS = 900
"""How long one run of apt-get may take, such a wait included."""
PAUSE = 2.0
"""Seconds between two looks whether it has ended."""
QUIET = ("--quiet", "--quiet", "-o=Dpkg::Use-Pty=0")
PATIENT = (f"-o=DPkg::Lock::Timeout={LOCK_SECONDS}", "-o=Acquire::Retries=3")


def missing(programs: list[str]) -> list[str]:
    """The Debian packages whose program isn't there; PostgreSQL's are kept off the PATH by Debian."""
    return [
        PACKAGES[program]
        for program in programs
        if shutil.which(program, path=SEARCHED) is None and not glob.glob(f"/usr/lib/postgresql/*/bin/{program}")  # noqa: PTH207
    ]


def install(packages: list[str]) -> None:
    """Install by apt-get; raises CalledProcessError when that fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    _patiently(["update"], environment)
    # A package's own service must not start here: tests start theirs on free ports.
    _patiently(["install", "--yes", "--no-install-recommends", *packages], {**environment, "RUNLEVEL": "1"})


def _patiently(words: list[str], environment: dict[str, str]) -> None:
    """apt itself waits for dpkg's lock, but not for those of its lists and of its archives."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        done = subprocess.run(
            ["apt-get", words[0], *QUIET, *PATIENT, *words[1:]],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        if "Could not get lock" not in done.stderr or time.monotonic() > end:
            sys.stderr.write(done.stderr)
            done.check_returncode()
            return
        time.sleep(PAUSE * (0.5 + random.random()))  # noqa: S311 - no secret


def main() -> int:
    packages = missing(sys.argv[1:] or list(FOR_TESTS))
    if not packages:
        return 0
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.stderr.write(f"The tests need programs that are missing here. Install them: apt-get install {names}\n")
        return 1
    sys.stderr.write(f"Installing Debian packages for the tests: {names} …\n")
    install(packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
