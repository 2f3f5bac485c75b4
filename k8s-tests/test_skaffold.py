from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from jsonschema import Draft7Validator, ValidationError

from cluster.binaries import tool
from cluster.helm import Helm
from cluster.images import buildah
from cluster.images.build import ROOT
from cluster.images.store import one_at_a_time
from cluster.waiting import until

SCHEMA = ROOT.parent / "shared" / "schemas" / "skaffold-v4beta14.json"
PROFILES = ("dev", "daemonless", "ci", "prod-like")
BUILT = {
    "IMAGE_REPO_slipway": "registry.example/team/slipway",
    "IMAGE_TAG_slipway": "abc",
    "IMAGE_DIGEST_slipway": "",
    "IMAGE_REPO_slipway_operator": "registry.example/team/slipway-operator",
    "IMAGE_TAG_slipway_operator": "def",
    "IMAGE_DIGEST_slipway_operator": "",
}
"""What skaffold's templates see of an image that it built."""

LISTENING = re.compile(r'listening on (127\.0\.0\.1:\d+)"')
"""In a registry's log, with the end of the message: the number before may be half of one."""

Document = dict[str, Any]


def configuration(*profiles: str) -> Document:
    """skaffold.yaml with the patches of these profiles, in order."""
    document: Document = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    known = {profile["name"]: profile for profile in document["profiles"]}
    for name in profiles:
        for change in known[name]["patches"]:
            patch(document, change)
    return document


def patch(document: Document, change: Document) -> None:
    """One JSON patch operation; KeyError where its place doesn't exist, as skaffold would complain."""
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


def expanded(text: str) -> str:
    return re.sub(r"{{\.(\w+)}}", lambda found: BUILT[found[1]], text)


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Document]]:
    """The release as skaffold's helm deployer asks for it, but `template` for `install`."""
    helm = Helm(tool("helm"))

    def rendered(*profiles: str) -> list[Document]:
        (release,) = configuration(*profiles)["deploy"]["helm"]["releases"]
        overrides = tmp_path_factory.mktemp("skaffold") / "skaffold-overrides.yaml"
        overrides.write_text(yaml.safe_dump(release["overrides"]))
        arguments = ["template", release["name"], str(ROOT / release["chartPath"])]
        arguments += ["--namespace", release["namespace"], "-f", str(overrides)]
        for key, value in sorted(release["setValueTemplates"].items()):
            arguments += ["--set", f"{key}={expanded(value)}"]
        for file in release.get("valuesFiles", []):
            arguments += ["-f", str(ROOT / file)]
        return [document for document in yaml.safe_load_all(helm.run(*arguments)) if document]

    return rendered


def one(objects: list[Document], kind: str, name: str) -> Document:
    (found,) = [found for found in objects if found["kind"] == kind and found["metadata"]["name"] == name]
    return found


def container(objects: list[Document], deployment: str) -> Document:
    (found,) = one(objects, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def schema() -> Document:
    document: Document = json.loads(SCHEMA.read_text())
    return document


@pytest.mark.parametrize("profiles", [(), *((name,) for name in PROFILES), ("dev", "daemonless")], ids="+".join)
def test_the_file_is_what_skaffold_reads(profiles: tuple[str, ...]) -> None:
    document = configuration(*profiles)
    assert document["apiVersion"] == "skaffold/v4beta14"
    if SCHEMA.exists():
        Draft7Validator(schema()).validate(document)
        document["build"]["artifacts"][0]["dockre"] = {}
        with pytest.raises(ValidationError):
            Draft7Validator(schema()).validate(document)


def test_every_profile_that_is_promised_is_there() -> None:
    assert {profile["name"] for profile in configuration()["profiles"]} == set(PROFILES)


def test_targets_and_paths_exist() -> None:
    stages = re.findall(r"^FROM .* AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert configuration()["build"]["artifacts"][0]["docker"]["target"] == "service"
    assert configuration("dev")["build"]["artifacts"][0]["docker"]["target"] == "dev"
    assert configuration()["build"]["artifacts"][1]["docker"]["target"] == "operator"
    assert configuration("dev")["build"]["artifacts"][1] == configuration()["build"]["artifacts"][1]
    assert {"service", "dev", "operator"} <= set(stages)
    (rule,) = configuration("dev")["build"]["artifacts"][0]["sync"]["manual"]
    synced = list(ROOT.glob(rule["src"]))
    assert ROOT / "service/slipway/cli.py" in synced
    assert (rule["strip"], rule["dest"]) == ("service/", "/src")
    assert "ENV PYTHONPATH=/src" in (ROOT / "Dockerfile").read_text()


def test_the_release_runs_the_built_image_with_the_demo(render: Callable[..., list[Document]]) -> None:
    objects = render()
    assert container(objects, "slipway")["image"] == "registry.example/team/slipway:abc"
    assert container(objects, "slipway-worker")["image"] == "registry.example/team/slipway:abc"
    assert container(objects, "slipway-operator")["image"] == "registry.example/team/slipway-operator:def"
    (migration,) = [found for found in objects if found["kind"] == "SchemaMigration"]
    assert migration["spec"]["image"] == container(objects, "slipway")["image"]
    assert one(objects, "Secret", "slipway-admin")
    assert one(objects, "Deployment", "slipway")["spec"]["replicas"] == 2


def test_dev_is_one_pod_that_takes_changed_code(render: Callable[..., list[Document]]) -> None:
    objects = render("dev")
    assert one(objects, "Deployment", "slipway")["spec"]["replicas"] == 1
    assert not [found for found in objects if found["kind"] == "HorizontalPodAutoscaler"]
    api = container(objects, "slipway")
    assert api["command"] == ["slipway", "serve", "--reload"]
    assert api["securityContext"]["readOnlyRootFilesystem"] is False
    assert api["securityContext"]["allowPrivilegeEscalation"] is False
    # A new container would forget the synced files.
    assert "livenessProbe" not in api
    assert container(render(), "slipway")["securityContext"]["readOnlyRootFilesystem"] is True


def test_prod_like_scales_by_itself_and_keeps_its_rows(render: Callable[..., list[Document]]) -> None:
    objects = render("prod-like")
    assert one(objects, "HorizontalPodAutoscaler", "slipway")
    assert "replicas" not in one(objects, "Deployment", "slipway")["spec"]
    assert "volumeClaimTemplates" in one(objects, "StatefulSet", "slipway-postgresql")["spec"]


def test_ci_names_images_by_commit(render: Callable[..., list[Document]]) -> None:
    assert configuration("ci")["build"]["tagPolicy"] == {"gitCommit": {}}
    assert one(render("ci"), "Deployment", "slipway")["spec"]["minReadySeconds"] == 0
    assert one(render(), "Deployment", "slipway")["spec"]["minReadySeconds"] > 0


def test_forwarded_ports_are_those_of_the_release(render: Callable[..., list[Document]]) -> None:
    objects = render()
    api, ops = configuration()["portForward"]
    assert api["port"] in [port["port"] for port in one(objects, "Service", api["resourceName"])["spec"]["ports"]]
    ports = container(objects, ops["resourceName"])["ports"]
    assert {"name": "ops", "containerPort": ops["port"]} in ports
    assert {api["resourceType"], ops["resourceType"]} == {"service", "deployment"}


def test_verify_signs_in_at_what_the_release_installs(render: Callable[..., list[Document]]) -> None:
    objects = render()
    (case,) = configuration()["verify"]
    manifest = ROOT / case["executionMode"]["kubernetesCluster"]["jobManifestPath"]
    job = yaml.safe_load(manifest.read_text())
    pod = job["spec"]["template"]["spec"]
    (script,) = pod["containers"]
    # skaffold puts its image into the container of this name, and its label beside the Job's own.
    assert script["name"] == case["container"]["name"]
    assert job["metadata"]["labels"]
    assert case["container"]["image"] == configuration()["build"]["artifacts"][0]["image"]
    assert one(objects, "Service", re.findall(r"http://([\w-]+)", script["args"][0])[0])
    assert set(one(objects, "Secret", pod["volumes"][0]["secret"]["secretName"])["data"]) == {"email", "password"}
    assert job["metadata"]["namespace"] == configuration()["deploy"]["helm"]["releases"][0]["namespace"]


# The custom builder


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
    """A folder whose targets are one file: what is tested is the way to the registry."""
    folder = tmp_path / "context"
    folder.mkdir()
    stages = [f"FROM scratch AS {name}\nCOPY Dockerfile /\nLABEL made={name}" for name in ("operator", "service")]
    (folder / "Dockerfile").write_text("\n".join([*stages, ""]))
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
