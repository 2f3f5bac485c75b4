"""skaffold.yaml as skaffold reads it: its profiles, and which files make it build an artifact anew."""

from __future__ import annotations

import copy
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

Document = dict[str, Any]


def configuration(*profiles: str, root: Path = ROOT) -> Document:
    """skaffold.yaml with the patches of these profiles, in order. KeyError where a patch has no place."""
    document: Document = yaml.safe_load((root / "skaffold.yaml").read_text())
    known = {profile["name"]: profile for profile in document["profiles"]}
    for name in profiles:
        for change in known[name]["patches"]:
            _patch(document, change)
    return document


def _patch(document: Document, change: Document) -> None:
    *parents, last = change["path"].strip("/").split("/")
    place: Any = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if change["op"] != "add" and last not in place:
        raise KeyError(change["path"])
    if change["op"] == "remove":
        del place[last]
    else:
        place[last] = copy.deepcopy(change["value"])


def inputs(artifact: Document, root: Path = ROOT) -> set[str]:
    """The files, below `root`, whose change has the artifact built anew.

    Of a Dockerfile skaffold takes what any stage copies, whichever the target is; of a custom builder what it lists.
    """
    context = root / artifact["context"]
    if "docker" in artifact:
        dockerfile = artifact["docker"]["dockerfile"]
        kept = _allowed((context / ".dockerignore").read_text())
        copied = {name for name in _below(context, _copied((context / dockerfile).read_text())) if _among(name, kept)}
        return {dockerfile, *copied}
    dependencies = artifact["custom"]["dependencies"]
    return set(_below(context, dependencies["paths"]))


def _copied(dockerfile: str) -> list[str]:
    found: list[str] = []
    for arguments in re.findall(r"^(?:COPY|ADD) (.+)$", dockerfile, re.MULTILINE):
        words = arguments.split()
        if not any(word.startswith("--from=") for word in words):
            found += [word for word in words if not word.startswith("--")][:-1]
    return found


def _allowed(dockerignore: str) -> list[str]:
    """What ours lets through: everything is shut out first."""
    return [line[1:] for line in dockerignore.splitlines() if line.startswith("!")]


def _among(name: str, allowed: list[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in allowed)


def _below(context: Path, names: list[str]) -> list[str]:
    found = [
        path for name in names for path in ([context / name] if (context / name).is_file() else _files(context / name))
    ]
    return [str(path.relative_to(context)) for path in found if not fnmatch(str(path), "*/__pycache__/*")]


def _files(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise FileNotFoundError(folder)
    return files
