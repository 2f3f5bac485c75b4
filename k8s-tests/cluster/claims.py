"""What on this machine is a cluster's: it clears away what it made itself, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.errors import ClusterError
from cluster.settings import Settings

MARK = "slipway-cluster"
"""A file of this name tells a cluster's folder from any other that SLIPWAY_CLUSTER_DIR might name."""


LONGEST_FOLDER = 70
"""Bytes: the kubelet makes sockets below it, whose paths may not exceed 107."""


def take(settings: Settings) -> None:
    """Make the folders, before anything else is made under the cluster's name."""
    settings.folder.mkdir(parents=True, mode=0o700)
    (settings.folder / MARK).touch()
    settings.run_folder.mkdir(mode=0o700)
    _claim(settings).write_text(str(settings.folder))


def contents(settings: Settings) -> list[Path]:
    """What is in the folder but for its mark, which must go last: a removal may be interrupted, and begun again."""
    return [path for path in settings.folder.glob("*") if path.name != MARK]


def check(settings: Settings) -> None:
    """ClusterError when folder, name or network belong to somebody else."""
    folder = settings.folder
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        raise ClusterError(
            f"{folder} has over {LONGEST_FOLDER} bytes, too long for sockets: choose a shorter SLIPWAY_CLUSTER_DIR"
        )
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise ClusterError(
            f"{folder} is not a cluster's folder, and would be emptied: choose another SLIPWAY_CLUSTER_DIR"
        )
    if settings.run_folder.exists():
        _check_holder(settings)
        return
    taken = [path for path in (settings.namespace, Path("/sys/class/net", settings.link)) if path.exists()]
    if taken:
        raise ClusterError(f"{' and '.join(map(str, taken))}: the cluster needs this name, and somebody else has it")


def _check_holder(settings: Settings) -> None:
    claim = _claim(settings)
    holder = claim.read_text() if claim.exists() else ""  # empty: made half by a cluster that was killed then
    if holder and holder != str(settings.folder):
        raise ClusterError(
            f"The cluster {settings.name} of this machine is in {holder}: use that one, or end it with "
            f"`SLIPWAY_CLUSTER_DIR={holder} make cluster-down`"
        )


def _claim(settings: Settings) -> Path:
    """Holds the folder of the cluster that has this name; in /run, so that a restart of the machine forgets it."""
    return settings.run_folder / "folder"
