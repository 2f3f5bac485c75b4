"""A cluster made from nothing comes up, and nothing of it is left. A second one, beside that of the other tests."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from cluster import cgroups, claims, given, kind, mounts, own, provider
from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.model import Cluster
from cluster.pause import PAUSE_IMAGE, write_archive
from cluster.processes import ComponentError, running, start_time
from cluster.progress import Progress
from cluster.settings import Settings, cache_folder

pytestmark = pytest.mark.timeout(240)

READY_WITHIN = 20.0


@pytest.fixture
def second(own_cluster: None) -> Iterator[Settings]:  # noqa: ARG001 - it is made on such a machine
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        settings = Settings(
            folder=Path(folder, "two"), cache=cache_folder(os.environ), name="slipway-two", network="10.91.0.0/24"
        )
        yield from second_cluster(settings)


def second_cluster(settings: Settings) -> Iterator[Settings]:
    with exclusive(settings.cache / "locks" / "second-cluster", within=90):
        end_what_a_killed_run_left(settings)
        yield settings
        own.down(settings, Progress(str.strip))


def end_what_a_killed_run_left(settings: Settings) -> None:
    claim = settings.run_folder / "folder"
    if claim.exists():
        own.down(replace(settings, folder=Path(claim.read_text())), Progress(str.strip))


def traces(settings: Settings) -> dict[str, list[str]]:
    """All that can be seen of a cluster on this machine, by kind."""
    marks = (str(settings.folder), str(settings.run_folder), f"/{settings.cgroup}/", str(settings.namespace))
    found = {
        "processes": [f"{pid} {line}" for pid, line in _processes() if any(mark in line for mark in marks)],
        "mounts": [line for line in _lines("/proc/self/mountinfo") if any(mark in line for mark in marks)],
        "links": [link.name for link in Path("/sys/class/net").glob(f"{settings.name}*")],
        "namespaces": [str(settings.namespace)] if settings.namespace.exists() else [],
        "control groups": [path for path in _control_groups() if Path(path).name == settings.cgroup],
        "folders": [str(path) for path in (settings.folder, settings.run_folder) if path.exists()],
    }
    return {kind: seen for kind, seen in found.items() if seen}


def _processes() -> Iterator[tuple[str, str]]:
    """What each process was called with, and which control groups it is in; what has ended may await its parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        if start_time(int(folder.name)) is None:
            continue
        try:
            called = (folder / "cmdline").read_text().replace("\0", " ")
            yield folder.name, called + (folder / "cgroup").read_text()
        except OSError:
            continue  # ended meanwhile


def _control_groups() -> list[str]:
    """Those of other pods come and go while we look: a walk passes them over, where a glob fails."""
    return [folder for folder, _, _ in os.walk(cgroups.ROOT)]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def rules_of_the_machine(settings: Settings) -> list[str]:
    """Packet filter, routes and kernel settings, but for routes to this cluster and to the one of other tests.

    Without what changes by itself: counters of packets, and how long a learned route still lasts.
    """
    routes = re.sub(r" expires \d+sec", "", run(["ip", "route", "show", "table", "all"]))
    seen = run(["nft", "--stateless", "list", "ruleset"]) + routes
    kernel = [f"{name} {Path('/proc/sys', name).read_text()}" for name in mounts.KERNEL_SETTINGS]
    theirs = (settings.link, settings.host_address, "slipway0", "10.89.0.")
    return kernel + [line for line in seen.splitlines() if not any(mark in line for mark in theirs)]


def pod(name: str) -> dict[str, Any]:
    """One that mounts what kubelet has to keep in memory."""
    container = {
        "name": "pause",
        "image": PAUSE_IMAGE,
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "secret", "mountPath": "/secret"}, {"name": "memory", "mountPath": "/memory"}],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "secret", "secret": {"secretName": "held"}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "volumes": volumes},
    }


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "held"}, "stringData": {"key": "value"}}


def start_pods(cluster: Cluster) -> None:
    cluster.kubectl.apply([SECRET, pod("one"), pod("two")], namespace="default")
    for name in ("one", "two"):
        cluster.kubectl.wait(f"pod/{name}", "Ready", "default")


def recorded(settings: Settings, name: str) -> int:
    pid: int = json.loads((settings.folder / "processes" / f"{name}.json").read_text())["pid"]
    return pid


@pytest.mark.alone
def test_it_comes_up_once_and_goes_without_a_trace(second: Settings) -> None:
    before = rules_of_the_machine(second)
    assert traces(second) == {}
    lines: list[str] = []
    seen: dict[str, float] = {}

    def write(line: str) -> None:
        lines.append(line)
        seen[line.rsplit("s  ", maxsplit=1)[-1]] = monotonic()

    progress = Progress(write)
    begin = monotonic()
    cluster = own.up(second, progress)
    sys.stdout.write("\n".join([*lines, f"node Ready after {seen['node Ready'] - begin:.1f} s", ""]))
    assert seen["node Ready"] - begin < READY_WITHIN
    api_server = recorded(second, "kube-apiserver")

    own.up(second, progress)
    assert lines[-1].strip() == "the cluster slipway-two runs already"
    assert recorded(second, "kube-apiserver") == api_server

    (second.folder / "finished").write_text("as another cache would have made it")
    with pytest.raises(ClusterError, match="somebody may be using it"):
        own.up(second, progress)
    assert recorded(second, "kube-apiserver") == api_server

    start_pods(cluster)
    assert set(traces(second)) == {"processes", "mounts", "links", "namespaces", "control groups", "folders"}
    assert rules_of_the_machine(second) == before

    own.down(second, progress)
    assert traces(second) == {}
    assert rules_of_the_machine(second) == before
    said = len(lines)
    own.down(second, progress)
    assert len(lines) == said, "there was nothing to do"


def test_a_broken_cluster_is_made_anew_and_its_last_user_ends_it(second: Settings) -> None:
    with pytest.raises(InterruptedError):
        break_and_use_again(second)
    assert traces(second) == {}


def break_and_use_again(second: Settings) -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    with provider.open_cluster(second, {}, progress) as opened:
        start_pods(opened)
        os.kill(recorded(second, "etcd"), signal.SIGKILL)
        os.waitpid(recorded(second, "etcd"), 0)
        assert not own.is_up(second)
        with provider.open_cluster(second, {}, progress) as again:
            assert any("cleared away" in line for line in lines)
            assert again.kubectl.run("get", "pods", "--namespace=default") == "", "nothing of the broken one is there"
        assert own.is_up(second), "the outer block still uses it"
        raise InterruptedError


def test_a_component_that_fails_shows_its_last_lines_and_stops_the_rest(second: Settings) -> None:
    wrong = replace(second, pods="no-network")
    with pytest.raises(ComponentError, match=r"(?s)kube-proxy ended; the last lines of .*ClusterCIDR.*no-network"):
        own.up(wrong, Progress(str.strip))
    assert not running(wrong)
    assert (wrong.logs / "kube-proxy.log").exists(), "for whoever looks into it"
    own.down(wrong, Progress(str.strip))
    assert traces(wrong) == {}


def test_a_half_made_cluster_is_cleared_away(second: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Settings) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("cluster.own._write_configuration", crash)
        patched.setattr("cluster.own.end_all", lambda _: None)
        with pytest.raises(MemoryError):
            own.up(second, Progress(str.strip))
    elsewhere = replace(second, folder=second.folder.with_name("elsewhere"))
    for act in (own.up, own.down):
        with pytest.raises(ClusterError, match=f"is in {second.folder}: use that one, or end it"):
            act(elsewhere, Progress(str.strip))
    assert set(traces(second)) == {"mounts", "links", "namespaces", "control groups", "folders"}
    own.down(second, Progress(str.strip))
    assert traces(second) == {}


def test_what_others_made_is_left_alone(second: Settings) -> None:
    second.folder.mkdir()
    precious = second.folder / "thesis.txt"
    precious.touch()
    for act in (own.up, own.down):
        with pytest.raises(ClusterError, match="is not a cluster's folder, and would be emptied"):
            act(second, Progress(str.strip))
    assert precious.exists()
    precious.unlink()

    run(["ip", "netns", "add", second.name])
    try:
        for act in (own.up, own.down):
            with pytest.raises(ClusterError, match="somebody else has it"):
                act(second, Progress(str.strip))
        assert second.namespace.exists()
    finally:
        run(["ip", "netns", "delete", second.name])


def test_a_folder_too_long_for_sockets_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 70)
    with pytest.raises(ClusterError, match="too long for sockets: choose a shorter SLIPWAY_CLUSTER_DIR"):
        claims.check(Settings(folder=deep, cache=tmp_path))
    assert not deep.exists()


def test_it_can_be_used_as_a_given_cluster(second: Settings, tmp_path: Path) -> None:
    ours = own.up(second, Progress(str.strip))
    archive = tmp_path / "pause.tar"
    write_archive(Path("/bin/true"), archive)
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    Path(environment["KUBECONFIG"]).write_bytes(ours.kubeconfig.read_bytes())

    with provider.open_cluster(second, environment, Progress(str.strip)) as cluster:
        assert (cluster.kind, cluster.enter, cluster.node_address) == ("given", (), None)
        assert cluster.kubectl.json("get", "nodes")["items"][0]["metadata"]["name"] == "node-1"
        with pytest.raises(ClusterError, match=f"A given cluster needs {given.LOADER}"):
            cluster.load_image(archive)
    environment[given.LOADER] = f"ctr --address={second.containerd_socket} --namespace=k8s.io images import"
    given.attach(second, environment, Progress(str.strip)).load_image(archive)
    assert own.is_up(second), "a given cluster isn't ours to end"

    check_loading(ours, tmp_path)
    check_admission(ours)
    check_kind_documents(ours)
    check_audit_log(ours)


def check_loading(cluster: Cluster, folder: Path) -> None:
    """An image that the node has is not unpacked again, so that its layers may as well be lost; another is."""
    whole, hollow = folder / "whole.tar", folder / "hollow.tar"
    write_archive(Path("/bin/true"), whole)
    without_layers(whole, hollow)
    cluster.load_image(whole)
    cluster.load_image(hollow)
    write_archive(Path("/bin/cat"), whole)
    without_layers(whole, hollow)
    with pytest.raises(CommandError, match="images import"):
        cluster.load_image(hollow)


def without_layers(archive: Path, copy: Path) -> None:
    with tarfile.open(archive) as source, tarfile.open(copy, "w") as target:
        for member in source:
            if member.name != "layer.tar":
                target.addfile(member, source.extractfile(member))


def check_admission(cluster: Cluster) -> None:
    """A namespace for tests refuses what the restricted Pod Security Standard refuses, and is removed again."""
    with cluster.namespace("for-a-test") as name:
        with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
            cluster.kubectl.apply([pod("refused")], namespace=name)
        cluster.kubectl.run("get", "namespace", name)
    with pytest.raises(CommandError, match="not found"):
        cluster.kubectl.run("get", "namespace", "for-a-test")


def check_kind_documents(cluster: Cluster) -> None:
    """What kind gets beside Kubernetes is accepted by an API server."""
    text = "\n---\n".join(json.dumps(document) for document in kind.documents())
    said = cluster.kubectl.run(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", input=text
    )
    assert len(said.splitlines()) == len(kind.documents())


def check_audit_log(cluster: Cluster) -> None:
    """Who asked for what is written down, without the bodies; Kubernetes' own programs are left out."""
    assert cluster.audit_log is not None
    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    assert any(event["verb"] == "delete" and event["objectRef"]["name"] == "for-a-test" for event in events)
    assert {event["level"] for event in events} == {"Metadata"}
    assert not any(event["user"]["username"].startswith("system:node:") for event in events)
