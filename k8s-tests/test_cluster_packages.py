"""Debian packages are installed once, by one process at a time, and whatever else apt is doing."""

from __future__ import annotations

import itertools
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import system_packages
from cluster import packages
from cluster.errors import ClusterError
from cluster.locks import LockedError, exclusive
from cluster.packages import ensure, missing
from cluster.progress import Progress

LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)"
SILENT = Progress(str.strip)


def apt(folder: Path, monkeypatch: pytest.MonkeyPatch, *, locked: int, command: str = "update") -> Path:
    """An apt-get whose command finds a lock held so many times; the file of what it was asked."""
    asked = folder / "asked"
    program = folder / "apt-get"
    held = f"[ $1 = {command} ] && [ $(grep -c {command} {asked}) -le {locked} ]"
    program.write_text(f"#!/bin/sh\necho $1 >> {asked}\nif {held}; then echo '{LOCKED}' >&2; exit 100; fi\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(system_packages, "PAUSE", 0.01)
    return asked


def test_packages_are_missing_when_their_program_is() -> None:
    assert missing({"sh": "dash", "no-such-program": "ghost", "none-either": "ghost"}) == ["ghost"]


def test_programs_of_the_cluster_have_packages() -> None:
    assert {"etcd", "containerd", "runc", "nft"} <= set(packages.PACKAGES)


def test_two_that_miss_the_same_at_once_install_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, both, looks, installed = tmp_path / "wanted", Barrier(2), itertools.count(), list[list[str]]()

    def looked(wanted: dict[str, str]) -> list[str]:
        absent = [package for name, package in wanted.items() if not Path(name).exists()]
        if next(looks) < 2:
            both.wait(30)  # each has seen that it is missing before one goes on
        return absent

    def install(absent: list[str]) -> None:
        with pytest.raises(LockedError), exclusive(tmp_path / "lock", within=0):
            pass  # nobody else gets in meanwhile
        installed.append(absent)
        program.touch()

    monkeypatch.setattr(packages, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(packages, "missing", looked)
    monkeypatch.setattr(packages, "install", install)
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(ensure, {str(program): "package"}, SILENT) for _ in range(2)]:
            ended.result()
    assert installed == [["package"]]


@pytest.mark.parametrize(
    ("command", "commands"),
    [
        ("update", ["update", "update", "update", "install"]),
        ("install", ["update", "install", "install", "install"]),
    ],
)
def test_lists_and_archives_that_another_apt_holds_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, commands: list[str]
) -> None:
    asked = apt(tmp_path, monkeypatch, locked=2, command=command)
    system_packages.install(["any"])
    assert asked.read_text().split() == commands


def test_lists_that_stay_locked_end_the_wait_with_apts_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = apt(tmp_path, monkeypatch, locked=1000)
    monkeypatch.setattr(system_packages, "LOCK_SECONDS", 0)
    with pytest.raises(subprocess.CalledProcessError):
        system_packages.install(["any"])
    assert "install" not in asked.read_text()
    assert "It is held by process 1" in capfd.readouterr().err


def test_a_package_that_can_not_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(absent: list[str]) -> None:
        raise subprocess.CalledProcessError(100, ["apt-get", *absent])

    monkeypatch.setattr(packages, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(packages, "install", fails)
    with pytest.raises(ClusterError, match="apt-get couldn't install ghost"):
        ensure({"no-such-program": "ghost"}, SILENT)
