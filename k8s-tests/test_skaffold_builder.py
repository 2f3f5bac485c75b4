"""skaffold's custom builder, called as skaffold calls it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from charts.skaffold import ROOT, configuration
from cluster.images import buildah
from cluster.images.store import one_at_a_time
from cluster.waiting import until

LISTENING = re.compile(r'listening on (127\.0\.0\.1:\d+)"')
"""In a registry's log, with the end of the message: the number before may be half of one."""


def build_command(artifact: str) -> str:
    (found,) = [each for each in configuration("daemonless")["build"]["artifacts"] if each["image"] == artifact]
    assert "docker" not in found
    command: str = found["custom"]["buildCommand"]
    return command


def as_skaffold_calls_it(artifact: str = "slipway", **environment: str) -> subprocess.CompletedProcess[str]:
    """The build command by `sh -c` in the artifact's folder; what a machine's own environment says stays."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SLIPWAY_TARGET"}}
    return subprocess.run(
        ["sh", "-c", build_command(artifact)],
        env={**inherited, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture
def image_name(buildah_here: None) -> Iterator[str]:  # noqa: ARG001 - it keeps the image
    """A name in buildah's storage that is gone afterwards."""
    name = "localhost/slipway-skaffold:0123abcd"
    yield name
    remove(name)


def remove(name: str) -> None:
    """Not while another process builds: its layers may be those that go."""
    with one_at_a_time():
        if buildah.image_id(name) is not None:
            buildah.buildah("rmi", name)


def containers() -> str:
    """What builds have left in buildah's storage: one that runs elsewhere now has its own there, too."""
    with one_at_a_time():
        return buildah.buildah("containers", "--quiet")


@pytest.fixture
def tiny_context(tmp_path: Path, buildah_here: None) -> Path:  # noqa: ARG001 - buildah builds it
    """A folder whose images are one file: what is tested is the way to the registry."""
    folder = tmp_path / "context"
    folder.mkdir()
    for target, file in (("service", "Dockerfile"), ("operator", "operator/Dockerfile")):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(f"FROM scratch AS {target}\nCOPY {file} /\nLABEL made={target}\n")
    return folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildah_here: None) -> Iterator[str]:  # noqa: ARG001
    """A registry on loopback, known to buildah as one without TLS."""
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    settings = {"version": "0.1", "storage": storage, "http": {"addr": "127.0.0.1:0"}, "log": {"level": "info"}}
    file, log, known = (tmp_path / name for name in ("registry.yml", "registry.log", "registries.conf"))
    file.write_text(yaml.safe_dump(settings))
    with (
        log.open("w") as output,
        subprocess.Popen(["docker-registry", "serve", str(file)], stdout=output, stderr=output) as server,
    ):
        try:
            address = told_address(server, log)
            known.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(known))
            yield address
        finally:
            server.send_signal(signal.SIGTERM)


def told_address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where the registry listens: it chose the port, so that nobody else can have taken it."""

    def told() -> bool:
        assert server.poll() is None, log.read_text()
        return LISTENING.search(log.read_text()) is not None

    until(told, 20)
    return LISTENING.findall(log.read_text())[0]


def test_the_build_command_makes_the_named_image(image_name: str) -> None:
    ended = as_skaffold_calls_it(
        IMAGE=image_name, PUSH_IMAGE="false", BUILD_CONTEXT=str(ROOT), PLATFORMS=buildah.host_platform()
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{image_name}: built\n"
    described = json.loads(buildah.buildah("inspect", "--type=image", image_name))
    assert described["Docker"]["config"]["Cmd"] == ["slipway", "serve"]


def test_the_build_command_pushes_when_asked_to(registry: str, tiny_context: Path) -> None:
    image = f"{registry}/team/slipway:0123abcd"
    ended = as_skaffold_calls_it(IMAGE=image, PUSH_IMAGE="true", BUILD_CONTEXT=str(tiny_context))
    remove(image)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{image}: built and pushed\n"
    with urlopen(f"http://{registry}/v2/team/slipway/tags/list", timeout=5) as reply:
        assert json.load(reply)["tags"] == ["0123abcd"]


@pytest.mark.parametrize(("artifact", "target"), [("slipway", "service"), ("slipway-operator", "operator")])
def test_each_artifact_is_built_from_its_own_target(
    image_name: str, tiny_context: Path, artifact: str, target: str
) -> None:
    ended = as_skaffold_calls_it(artifact, IMAGE=image_name, PUSH_IMAGE="false", BUILD_CONTEXT=str(tiny_context))
    assert ended.returncode == 0, ended.stderr
    described = json.loads(buildah.buildah("inspect", "--type=image", image_name))
    assert described["Docker"]["config"]["Labels"]["made"] == target


def test_the_build_command_pushes_nothing_unasked(registry: str, tiny_context: Path) -> None:
    image = f"{registry}/team/slipway:0123abcd"
    ended = as_skaffold_calls_it(IMAGE=image, PUSH_IMAGE="false", BUILD_CONTEXT=str(tiny_context))
    remove(image)
    assert ended.returncode == 0, ended.stderr
    with urlopen(f"http://{registry}/v2/_catalog", timeout=5) as reply:
        assert json.load(reply)["repositories"] == []


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "it needs IMAGE and BUILD_CONTEXT"),
        ({"IMAGE": "a:1", "BUILD_CONTEXT": "/", "PLATFORMS": "linux/amd64,linux/arm64"}, "One platform a build"),
    ],
    ids=["no request", "two platforms"],
)
def test_what_cant_be_built_is_refused_with_a_sentence(environment: dict[str, str], sentence: str) -> None:
    ended = as_skaffold_calls_it(**environment)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_failing_step_is_shown_and_leaves_no_container(tiny_context: Path) -> None:
    (tiny_context / "Dockerfile").write_text(
        "FROM docker.io/library/python:3.13-slim AS service\nRUN echo the reason >&2; exit 3\n"
    )
    before = containers()
    ended = as_skaffold_calls_it(IMAGE="localhost/broken:1", PUSH_IMAGE="false", BUILD_CONTEXT=str(tiny_context))
    assert ended.returncode == 1
    assert "the reason" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert containers() == before
