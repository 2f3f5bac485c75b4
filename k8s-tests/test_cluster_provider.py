"""Which cluster is chosen, from what the machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cluster import given, mounts, node, provider
from cluster.errors import ClusterError, ClusterUnavailableError
from cluster.progress import Progress
from cluster.provider import Machine, choose
from cluster.settings import Settings, cache_folder

EVERYTHING = Machine(docker=True, kind=True, linux=True, root=True, privileged=True, apt=True)
NOTHING = Machine(docker=False, kind=False, linux=False, root=False, privileged=False, apt=False)


def test_a_kubeconfig_goes_before_everything() -> None:
    assert choose("/home/me/.kube/config", EVERYTHING) == "given"
    assert choose("/home/me/.kube/config", NOTHING) == "given"


@pytest.mark.parametrize("unset", [None, ""])
def test_kind_goes_before_a_cluster_of_our_own(unset: str | None) -> None:
    assert choose(unset, EVERYTHING) == "kind"


@pytest.mark.parametrize("without", ["docker", "kind"])
def test_kind_needs_both_itself_and_a_running_docker(without: str) -> None:
    assert choose(None, replace(EVERYTHING, **{without: False})) == "own"


@pytest.mark.parametrize(("without", "named"), [("linux", "Linux"), ("root", "root"), ("apt", "apt-get")])
def test_a_cluster_of_our_own_says_what_it_needs(without: str, named: str) -> None:
    machine = replace(EVERYTHING, docker=False, **{without: False})
    with pytest.raises(ClusterUnavailableError, match=rf"made from nothing needs {named}\.$") as caught:
        choose(None, machine)
    assert "kind needs a running Docker engine," in str(caught.value)
    assert "\n" not in str(caught.value)


def test_root_in_a_container_without_rights_is_told_which() -> None:
    with pytest.raises(ClusterUnavailableError, match=r"needs the rights CAP_NET_ADMIN and CAP_SYS_ADMIN, which"):
        choose(None, replace(EVERYTHING, docker=False, privileged=False))


def test_each_missing_thing_is_named() -> None:
    with pytest.raises(ClusterUnavailableError) as caught:
        choose(None, NOTHING)
    assert str(caught.value) == (
        "There is no Kubernetes cluster for the tests here: KUBECONFIG is not set, "
        "kind needs a running Docker engine and kind on PATH, "
        "and a cluster made from nothing needs Linux and root and apt-get."
    )


def test_the_kubeconfig_of_our_own_cluster_is_no_given_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "look", lambda: replace(EVERYTHING, docker=False))
    assert provider.selected(settings, {"KUBECONFIG": str(settings.kubeconfig)}) == "own"
    assert provider.selected(settings, {"KUBECONFIG": "/elsewhere"}) == "given"


@pytest.mark.parametrize("named", ["/nowhere/config", "/etc/hostname:/etc/hosts"])
def test_a_kubeconfig_must_be_one_file(settings: Settings, named: str) -> None:
    with pytest.raises(ClusterError, match="KUBECONFIG must be the path of one file"):
        given.attach(settings, {"KUBECONFIG": named}, Progress(str.strip))


def test_folders_come_from_the_environment() -> None:
    chosen = Settings.from_environment({"SLIPWAY_CLUSTER_DIR": "/a", "SLIPWAY_CACHE_DIR": "/b"})
    assert (chosen.folder, chosen.cache) == (Path("/a"), Path("/b"))
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/slipway")
    assert cache_folder({}) == Path.home() / ".cache" / "slipway"


def test_addresses_derive_from_networks(settings: Settings) -> None:
    assert (settings.node_address, settings.host_address) == ("10.89.0.1", "10.89.0.254")
    assert (settings.api_service_address, settings.dns_service_address) == ("10.96.0.1", "10.96.0.10")


@pytest.mark.parametrize(
    ("filesystem", "layers"), [("ext2/ext3", "overlayfs"), ("tmpfs", "overlayfs"), ("overlayfs", "native")]
)
def test_images_lie_in_copies_where_overlays_cannot(filesystem: str, layers: str) -> None:
    assert node.snapshotter(filesystem) == layers


def test_the_filesystem_of_a_folder_is_known() -> None:
    assert node.filesystem(Path("/proc")) == "proc"


@pytest.mark.parametrize("folder", ["/var/lib/slipway", "/run/slipway", "/var/log/slipway"])
def test_folders_that_the_node_sees_otherwise_are_refused(settings: Settings, folder: str) -> None:
    with pytest.raises(ClusterError, match="SLIPWAY_CLUSTER_DIR can't be below"):
        mounts.check(replace(settings, folder=Path(folder)))
    assert not Path(folder).exists()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path / "cluster", cache=tmp_path / "cache")
