"""The one way to run a program and wait for it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

ROOTS_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
SHOWN_LINES = 20
SHOWN_COMMAND = 200


def tail(text: str, lines: int = SHOWN_LINES) -> str:
    """The last lines of a log or of what a program complained about."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


class CommandError(ClusterError):
    """A program failed or took too long; `stderr` is the end of what it wrote there."""

    def __init__(self, arguments: Sequence[str], outcome: str, stderr: str) -> None:
        command = shlex.join(arguments)
        if len(command) > SHOWN_COMMAND:
            command = command[:SHOWN_COMMAND] + " …"
        self.outcome = outcome
        self.stderr = tail(stderr)
        super().__init__(f"{command} {outcome}" + (f":\n{self.stderr}" if self.stderr else ""))


def run(
    arguments: Sequence[str | Path],
    *,
    timeout: float = 60.0,
    input: str | None = None,  # noqa: A002 - as subprocess calls it
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Standard output of the finished program.

    `environment` is added to ours; `timeout` is in seconds. Raises CommandError when the program is missing, ends with
    another code than 0, or is not done in time: then everything it started in its session is killed.
    """
    words = [str(argument) for argument in arguments]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": _path(os.environ), **(environment or {})},
            cwd=folder,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(words, f"can't be started: {error.strerror}", "") from None
    with process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill_session(process)
            _, stderr = process.communicate()
            raise CommandError(words, f"was not done after {timeout:g} s", stderr) from None
        except BaseException:
            _kill_session(process)
            raise
    if process.returncode != 0:
        raise CommandError(words, f"ended with code {process.returncode}", stderr or stdout)
    return stdout


def _path(environment: Mapping[str, str]) -> str:
    """Root's programs are found too where a login as root left its folders out, as `su` and cron do."""
    return os.pathsep.join([environment.get("PATH", os.defpath), *ROOTS_FOLDERS])


def _kill_session(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
