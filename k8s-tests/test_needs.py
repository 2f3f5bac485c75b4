"""Where no cluster can be had the tests that need one are left out with a sentence; in CI that is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import golang, privileges
from cluster.binaries import TOOLS
from cluster.images.build import ROOT
from cluster.progress import Progress
from cluster.settings import cache_folder

NEEDS_A_CLUSTER = "k8s-tests/test_dry_run.py::test_a_broken_object_is_refused"
NEEDS_OUR_OWN = "k8s-tests/test_cluster_own.py"
NEEDS_NOTHING = "k8s-tests/test_cluster_commands.py"
NO_CLUSTER = "There is no Kubernetes cluster for the tests here: KUBECONFIG is not set, kind needs"


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder of programs with neither docker nor kind nor apt-get, but with Go."""
    go = golang.toolchain(golang.required(TOOLS.folder), cache_folder(os.environ), Progress(str.strip))
    (tmp_path / "go").symlink_to(go)
    return tmp_path


def run_tests(path: Path, *which: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in {"CI", "KUBECONFIG"}}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which],
        env={**inherited, "PATH": str(path), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_without_a_cluster_tests_are_left_out_with_the_reason(bare_path: Path) -> None:
    which = (f"{NEEDS_A_CLUSTER}[Deployment-change-selector]", f"{NEEDS_OUR_OWN}", f"{NEEDS_NOTHING}")
    ended = run_tests(bare_path, *which, "--collect-only")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"1 tests were left out: {NO_CLUSTER}" in ended.stdout
    assert "6 tests were left out: A cluster made from nothing needs" in ended.stdout
    assert "test_a_missing_program_is_a_failure_too" in ended.stdout


def test_a_run_whose_every_test_was_left_out_has_not_failed(bare_path: Path) -> None:
    ended = run_tests(bare_path, "k8s-tests/test_install.py")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f" tests were left out: {NO_CLUSTER}" in ended.stdout


def test_without_a_cluster_ci_fails_with_the_reason(bare_path: Path) -> None:
    ended = run_tests(bare_path, f"{NEEDS_A_CLUSTER}[Deployment-change-selector]", CI="true")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"ClusterUnavailableError: {NO_CLUSTER}" in ended.stdout


def test_why_tests_could_not_be_prepared_is_told_where_processes_run_side_by_side(bare_path: Path) -> None:
    ended = run_tests(bare_path, NEEDS_NOTHING, "--numprocesses=1", SLIPWAY_CACHE_DIR="/dev/null/cache")
    assert ended.returncode != 0
    assert "The tests can't be prepared: [Errno 20] Not a directory" in ended.stderr


def test_tests_of_another_way_than_this_machines_are_left_out_in_ci_too(bare_path: Path, tmp_path: Path) -> None:
    given = tmp_path / "kubeconfig"
    given.touch()
    ended = run_tests(bare_path, NEEDS_OUR_OWN, "--collect-only", CI="true", KUBECONFIG=str(given))
    assert "6 tests were left out: A cluster made from nothing needs" in ended.stdout
    assert NO_CLUSTER not in ended.stdout


@pytest.mark.parametrize(
    ("effective", "lacking"),
    [
        ("000001ffffffffff", []),
        ("00000000a80425fb", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),  # what docker leaves to root in a container
        ("00000000a80435fb", ["CAP_SYS_ADMIN"]),
        ("0", ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    ],
)
def test_rights_that_a_container_lacks_are_seen(effective: str, lacking: list[str]) -> None:
    assert privileges.lacking(f"Name:\tx\nCapEff:\t{effective}\nCapBnd:\t000001ffffffffff\n") == lacking
