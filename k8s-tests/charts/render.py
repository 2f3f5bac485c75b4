"""Renders of the chart, without a cluster."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cluster.commands import CommandError
from cluster.helm import Helm

CHART = Path(__file__).resolve().parents[2] / "chart"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}

DEMO: Mapping[str, Any] = {"demo": True}
PRODUCTION: Mapping[str, Any] = {
    "issuer": "https://api.example.com",
    "passwordResetUrl": "https://www.example.com/reset?token={token}",
    "database": {"existingSecret": "database"},
    "migrations": {"existingSecret": "database-owner"},
    "signingKeys": {"existingSecret": "signing-keys"},
}
"""The least that production asks for."""

Document = dict[str, Any]


class RefusedError(Exception):
    """Helm or the chart refused the values; the message is what a person reads."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged key by key as Helm merges values files, and everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Maps in maps that hold `value` at `path`, which has at least one key."""
    *above, last = path
    result = {last: value}
    for key in reversed(above):
        result = {key: result}
    return result


class Objects:
    """The objects of one render, found by kind and by name."""

    def __init__(self, documents: list[Document]) -> None:
        self.all = documents

    def of_kind(self, kind: str) -> list[Document]:
        return [document for document in self.all if document["kind"] == kind]

    def one(self, kind: str, name: str) -> Document:
        """Raises LookupError, which lists the names that there are."""
        found = {document["metadata"]["name"]: document for document in self.of_kind(kind)}
        if name not in found:
            raise LookupError(f"no {kind} {name!r}, only {sorted(found)}")
        return found[name]

    def pods(self) -> dict[str, Document]:
        """Everything that makes pods, as `Kind/name`, with the pod's `metadata` and `spec`."""
        return {f"{document['kind']}/{_named(document['metadata'])}": pod for document, pod in self._pods()}

    def _pods(self) -> Iterator[tuple[Document, Document]]:
        for document in self.all:
            if document["kind"] == "Pod":
                yield document, document
            elif "template" in document.get("spec", {}):
                yield document, document["spec"]["template"]


def _named(metadata: Document) -> str:
    """Its name, or how the name begins that it is given when it is made."""
    return str(metadata.get("name") or metadata["generateName"])


@dataclass(frozen=True)
class Renderer:
    """`program` is Helm; another `chart` may stand for ours, such as a parent of it."""

    program: Path
    chart: Path = CHART

    def text(self, values: Mapping[str, Any], *, release: str = "slipway", namespace: str = "ships") -> str:
        """The manifest as Helm writes it. Raises RefusedError."""
        return self._with_values(values, "template", release, str(self.chart), f"--namespace={namespace}")

    def texts(self, many: Sequence[Mapping[str, Any]]) -> list[str]:
        """A manifest for each of these values, in one call of Helm, which takes longer to start than to render.

        Raises RefusedError when any of them is refused.
        """
        parts = {f"{PART}{number:03}": {"nameOverride": "slipway", **values} for number, values in enumerate(many)}
        with tempfile.TemporaryDirectory(prefix="slipway-fleet-") as folder:
            _write_fleet(Path(folder), self.chart, list(parts))
            text = replace(self, chart=Path(folder)).text(parts)
        found: dict[str, list[str]] = {part: [] for part in parts}
        for document in text.removeprefix("---\n").split("\n---\n"):
            part = document.partition("/charts/")[2].partition("/")[0]
            found[part].append(document.replace(part, PART))
        return ["\n---\n".join(documents) for documents in found.values()]

    def objects(self, values: Mapping[str, Any], *, release: str = "slipway", namespace: str = "ships") -> Objects:
        """The same for the same values, so nothing in it may be changed. Raises RefusedError."""
        return _objects(self, json.dumps(values), release, namespace)

    def notes(self, values: Mapping[str, Any]) -> str:
        """What `helm install` tells a person. Raises RefusedError."""
        arguments = ("install", "slipway", str(self.chart), "--namespace=ships", "--dry-run=client")
        return self._with_values(values, *arguments).partition("NOTES:")[2]

    def _with_values(self, values: Mapping[str, Any], *arguments: str) -> str:
        with tempfile.NamedTemporaryFile("w", prefix="slipway-values-", suffix=".yaml") as file:
            yaml.safe_dump(dict(values), file)
            file.flush()
            try:
                return Helm(self.program).run(*arguments, f"--values={file.name}")
            except CommandError as error:
                raise RefusedError(error.stderr) from None


PART = "part"
"""What a chart is called that is rendered beside others."""


def _write_fleet(folder: Path, chart: Path, parts: Sequence[str]) -> None:
    """A chart in `folder` that has `chart` in it under each of these names."""
    meta = yaml.safe_load((chart / "Chart.yaml").read_text())
    dependencies = [{"name": meta["name"], "version": meta["version"], "alias": part} for part in parts]
    fleet = {"apiVersion": "v2", "name": "fleet", "version": "1.0.0", "dependencies": dependencies}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(fleet))
    shutil.copytree(chart, folder / "charts" / meta["name"])


@cache
def _objects(renderer: Renderer, values: str, release: str, namespace: str) -> Objects:
    text = renderer.text(json.loads(values), release=release, namespace=namespace)
    # The loader in C: the one in Python takes longer than Helm.
    return Objects([document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document])
