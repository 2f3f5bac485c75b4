"""Helm of the project's own version; the user's plug-ins, repositories and settings play no part."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.commands import run


@dataclass(frozen=True)
class Helm:
    """`kubeconfig` None: only for what needs no cluster."""

    path: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, timeout: float = 120.0) -> str:
        """Standard output; CommandError has the end of stderr. `timeout` in seconds."""
        cluster = [] if self.kubeconfig is None else [f"--kubeconfig={self.kubeconfig}"]
        with tempfile.TemporaryDirectory(prefix="slipway-helm-") as home:
            folders = {f"HELM_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")}
            folders["KUBECACHEDIR"] = f"{home}/kinds"
            # Collecting garbage costs a short-lived program a fifth of its time.
            collector = {"GOGC": "off"} if self.kubeconfig is None else {}
            return run([self.path, *arguments, *cluster], environment={**folders, **collector}, timeout=timeout)

    def template(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str = "default",
        values_files: Sequence[Path] = (),
        sets: Mapping[str, str] | Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """The rendered objects in Helm's order; `sets` are `key=value` or a mapping of such."""
        pairs = [f"{key}={value}" for key, value in sets.items()] if isinstance(sets, Mapping) else sets
        text = self.run(
            "template",
            release,
            str(chart),
            f"--namespace={namespace}",
            *(f"--values={path}" for path in values_files),
            *(f"--set={pair}" for pair in pairs),
            *arguments,
        )
        return [document for document in yaml.safe_load_all(text) if document]
