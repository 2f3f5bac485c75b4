"""Questions to the API server, by `kubectl get --raw`: whoever may use kubectl may use this, however they sign in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

TIMEOUT = 10.0
"""Seconds that one question may take."""

_REFUSED = ("(Forbidden)", "(Unauthorized)")
_ABSENT = ("(NotFound)", "the server doesn't have a resource type")
_PODS_FAULT = ("(ServiceUnavailable)", "(InternalError)", "(BadGateway)", "error trying to reach service")


class AskError(Exception):
    """Nothing can be asked; the message says why, in one sentence."""


class LeftOutError(Exception):
    """One thing can't be had: no right, no such kind, nobody there."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`flags` are kubectl's own, such as `--context`."""

    flags: Sequence[str] = ()
    program: str = "kubectl"

    def get(self, path: str) -> bytes:
        """The body at an address of the API server. Raises AskError, or LeftOutError where others may be answered."""
        return self._run("get", "--raw", path)

    def namespace(self) -> str:
        """That of the context in use."""
        found = self._run("config", "view", "--minify", "--output", "jsonpath={..namespace}")
        return found.decode(errors="replace").strip() or "default"

    def _run(self, *arguments: str) -> bytes:
        if shutil.which(self.program) is None:
            raise AskError("kubectl isn't on the PATH: install it, or run this where it is.")
        command = [self.program, *self.flags, f"--request-timeout={TIMEOUT:.0f}s", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT + 2, check=False)  # noqa: S603 - kubectl
        except subprocess.TimeoutExpired:
            raise AskError(f"The API server didn't answer within {TIMEOUT:.0f} s.") from None
        if done.returncode == 0:
            return done.stdout
        said = " ".join(done.stderr.decode(errors="replace").split())[:400]
        if any(word in said for word in _REFUSED):
            raise LeftOutError("you have no right to it")
        if any(word in said for word in _ABSENT):
            raise LeftOutError("the cluster doesn't have it")
        if any(word in said for word in _PODS_FAULT):
            raise LeftOutError("it doesn't answer")
        raise AskError(f"kubectl: {said or f'it ended with {done.returncode} and said nothing'}")
