"""Which cluster there is to use here, and how it is opened and let go."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import given, kind, own
from cluster.commands import CommandError, run
from cluster.errors import ClusterUnavailableError
from cluster.locks import LockedError, exclusive, shared
from cluster.model import Cluster, Kind
from cluster.privileges import CAPABILITIES, privileged
from cluster.progress import Progress
from cluster.settings import Settings

USERS_SECONDS = 1800.0


@dataclass(frozen=True)
class Machine:
    """What decides which clusters are possible here."""

    docker: bool
    kind: bool
    linux: bool
    root: bool
    privileged: bool
    apt: bool


def look() -> Machine:
    return Machine(
        docker=_docker_answers(),
        kind=shutil.which("kind") is not None,
        linux=platform.system() == "Linux",
        root=os.geteuid() == 0,
        privileged=privileged(),
        apt=shutil.which("apt-get") is not None,
    )


def _docker_answers() -> bool:
    try:
        run(["docker", "info"], timeout=20)
    except CommandError:
        return False
    return True


def choose(kubeconfig: str | None, machine: Machine) -> Kind:
    """ClusterUnavailableError says in a sentence what is missing for each of the three ways."""
    if kubeconfig:
        return "given"
    if machine.docker and machine.kind:
        return "kind"
    for_own = missing_for_own(machine)
    if not for_own:
        return "own"
    for_kind = _and([(machine.docker, "a running Docker engine"), (machine.kind, "kind on PATH")])
    raise ClusterUnavailableError(
        "There is no Kubernetes cluster for the tests here: KUBECONFIG is not set, "
        f"kind needs {for_kind}, and a cluster made from nothing needs {for_own}."
    )


def missing_for_own(machine: Machine) -> str:
    """What a cluster made from nothing lacks, empty where it can be made."""
    rights = f"the rights {' and '.join(CAPABILITIES)}, which this container lacks"
    needs = [(machine.linux, "Linux"), (machine.root, "root"), (machine.apt, "apt-get")]
    if machine.linux and machine.root:
        needs.append((machine.privileged, rights))
    return _and(needs)


def _and(needs: list[tuple[bool, str]]) -> str:
    return " and ".join(what for there, what in needs if not there)


def selected(settings: Settings, environment: Mapping[str, str]) -> Kind:
    """As `choose`; a KUBECONFIG that points at our own cluster's file gives nothing new."""
    named = environment.get("KUBECONFIG")
    if named and Path(named).absolute() == settings.kubeconfig:
        named = None
    return choose(named, look())


def why_unavailable(environment: Mapping[str, str] = os.environ) -> str | None:
    """A sentence when no cluster can be had here, else None."""
    try:
        selected(Settings.from_environment(environment), environment)
    except ClusterUnavailableError as error:
        return str(error)
    return None


def why_no_own() -> str | None:
    """A sentence where no cluster can be made from nothing, else None."""
    lacking = missing_for_own(look())
    return f"A cluster made from nothing needs {lacking}." if lacking else None


def why_not_ours(environment: Mapping[str, str] = os.environ) -> str | None:
    """A sentence when tests use somebody else's cluster, or none; None when it is made from nothing here."""
    absent = why_unavailable(environment)
    if absent is not None:
        return absent
    chosen = selected(Settings.from_environment(environment), environment)
    return None if chosen == "own" else "The API server of a cluster that isn't our own is neither read nor restarted."


def start(settings: Settings, environment: Mapping[str, str], progress: Progress) -> Cluster:
    """The cluster, made if need be; it stays until `stop`."""
    chosen = selected(settings, environment)
    if chosen == "given":
        return given.attach(settings, environment, progress)
    return kind.up(settings, progress) if chosen == "kind" else own.up(settings, progress)


def stop(settings: Settings, environment: Mapping[str, str], progress: Progress) -> None:
    """End what `start` made; a given cluster stays as it is."""
    chosen = selected(settings, environment)
    if chosen == "kind":
        kind.down(settings, progress)
    elif chosen == "own":
        own.down(settings, progress)
    _passing(settings).unlink(missing_ok=True)


def is_up(settings: Settings, environment: Mapping[str, str]) -> bool:
    chosen = selected(settings, environment)
    return chosen == "given" or (kind.is_up(settings) if chosen == "kind" else own.is_up(settings))


def start_to_stay(settings: Settings, environment: Mapping[str, str], progress: Progress) -> Cluster:
    """As `start`; also one that tests started, and use, outlives them."""
    with shared(_users(settings), within=USERS_SECONDS):
        cluster = start(settings, environment, progress)
        _passing(settings).unlink(missing_ok=True)
    return cluster


def _passing(settings: Settings) -> Path:
    """Exists while a cluster is up that shall end with its last user."""
    return settings.locks / "passing"


def _users(settings: Settings) -> Path:
    """A lock that everybody who uses the cluster shares."""
    return settings.locks / "users"


@contextmanager
def open_cluster(
    settings: Settings | None = None,
    environment: Mapping[str, str] = os.environ,
    progress: Progress | None = None,
) -> Iterator[Cluster]:
    """The cluster for as long as the block runs.

    One that runs already stays. One that was made here ends with the last of the processes that use it.
    Raises ClusterUnavailableError where none can be had, ClusterError when it doesn't come up.
    """
    settings = settings or Settings.from_environment(environment)
    progress = progress or Progress()
    started = False
    try:
        with shared(_users(settings), within=USERS_SECONDS):
            if not is_up(settings, environment):
                _passing(settings).touch()
            cluster = start(settings, environment, progress)
            started = True
            yield cluster
    finally:
        if started:  # else its logs are still of use
            _end_with_last_user(settings, environment, progress)


def _end_with_last_user(settings: Settings, environment: Mapping[str, str], progress: Progress) -> None:
    try:
        with exclusive(_users(settings), within=0):
            if _passing(settings).exists():
                stop(settings, environment, progress)
    except LockedError:
        return  # somebody else still uses it
