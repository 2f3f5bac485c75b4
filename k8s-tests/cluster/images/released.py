"""What was released before, as it was: its chart, its definitions and its images, made from its commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Literal

import yaml

from cluster.errors import ClusterError
from cluster.images.build import ROOT, Recipe, archive_of
from cluster.settings import cache_folder

COMMIT = "35cac19f8e34ddc07831665453f585f7afc15b71"
SHIPPED = ("chart", "Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "requirements", "service", "operator")
TAGS = {"service": "slipway:released", "operator": "slipway-operator:released"}


def sources() -> Path:
    """The folder with what it was made of, kept in the cache. ClusterError where history lacks the commit."""
    folder = cache_folder(os.environ) / "released" / COMMIT[:12]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = ["git", "-C", str(ROOT), "archive", COMMIT, *SHIPPED]
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished, tempfile.TemporaryFile() as packed:
        told = subprocess.run(words, stdout=packed, stderr=subprocess.PIPE, timeout=60, check=False)
        if told.returncode != 0:
            raise ClusterError(f"The release before, {COMMIT[:7]}, isn't in this history: fetch it whole (git fetch).")
        packed.seek(0)
        whole = Path(unfinished, "whole")
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(whole, filter="data")
        if not folder.is_dir():
            shutil.move(whole, folder)
    return folder


def definitions() -> list[dict[str, Any]]:
    """Its CustomResourceDefinitions."""
    return [yaml.safe_load(path.read_text()) for path in sorted((sources() / "chart" / "crds").glob("*.yaml"))]


def build_released(target: Literal["service", "operator"]) -> Path:
    """A docker-archive of its image, under `TAGS`; raises as `build`, and ClusterError."""
    labels = {"org.opencontainers.image.revision": COMMIT}  # in the archive's name, for its files never change
    return archive_of(Recipe(sources(), (), target=target, labels=labels), TAGS[target])
