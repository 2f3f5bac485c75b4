"""kubectl of the cluster's own version, bound to one cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.commands import run

WAIT_SLACK = 10.0
"""Seconds that kubectl gets beyond its own timeout, to report it."""


@dataclass(frozen=True)
class Kubectl:
    """`cache` is where it keeps what kinds an API has; None: beside the kubeconfig, which goes with the cluster."""

    path: Path
    kubeconfig: Path
    cache: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """In its own place, the home, it would take the kinds of another cluster of the same address for this one's."""
        return {"KUBECACHEDIR": str(self.cache or self.kubeconfig.with_name("kubectl-cache"))}

    def run(self, *arguments: str, input: str | None = None, timeout: float = 60.0) -> str:  # noqa: A002
        """Standard output; CommandError has the end of stderr. `timeout` in seconds."""
        return run(
            [self.path, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=input,
            environment=self.environment,
            timeout=timeout,
        )

    def json(self, *arguments: str) -> Any:
        """The parsed answer of a command that knows `--output=json`."""
        return json.loads(self.run(*arguments, "--output=json"))

    def apply(
        self, documents: str | Sequence[dict[str, Any]], namespace: str | None = None, *, server_side: bool = True
    ) -> str:
        """Apply YAML text or objects; kubectl's lines of what changed."""
        text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
        arguments = ["apply", "--filename=-"]
        if server_side:
            arguments.append("--server-side")
        if namespace is not None:
            arguments.append(f"--namespace={namespace}")
        return self.run(*arguments, input=text)

    def wait(self, what: str, condition: str, namespace: str | None = None, timeout: float = 60.0) -> None:
        """`what` is `kind/name`; `condition` a condition's name, or `delete`, `create`, `jsonpath={…}=value`."""
        plain = condition in {"delete", "create"} or "=" in condition
        wanted = condition if plain else f"condition={condition}"
        scope = [] if namespace is None else [f"--namespace={namespace}"]
        self.run("wait", what, f"--for={wanted}", f"--timeout={timeout:g}s", *scope, timeout=timeout + WAIT_SLACK)
