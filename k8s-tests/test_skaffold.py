"""skaffold.yaml: what it builds, when, and what the chart makes of the images' names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator, ValidationError

from charts.skaffold import ROOT, Document, configuration, inputs
from cluster.binaries import tool
from cluster.helm import Helm
from cluster.images.build import slipway

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
"""What skaffold's templates see of images that it built and didn't push."""

DIGESTS = {"slipway": f"sha256:{'a' * 64}", "slipway_operator": f"sha256:{'b' * 64}"}
PUSHED = BUILT | {f"IMAGE_DIGEST_{name}": digest for name, digest in DIGESTS.items()}
UNKNOWN = dict.fromkeys(BUILT, "<no value>")
"""As `skaffold render --digest-source=none` fills them in: Go's word for what isn't there."""


def expanded(text: str, images: dict[str, str]) -> str:
    return re.sub(r"{{\.(\w+)}}", lambda found: images[found[1]], text)


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Document]]:
    """The release as skaffold's helm deployer asks for it, but `template` for `install`."""
    helm = Helm(tool("helm"))

    def rendered(*profiles: str, images: dict[str, str] = BUILT) -> list[Document]:
        (release,) = configuration(*profiles)["deploy"]["helm"]["releases"]
        overrides = tmp_path_factory.mktemp("skaffold") / "skaffold-overrides.yaml"
        overrides.write_text(yaml.safe_dump(release["overrides"]))
        arguments = ["template", release["name"], str(ROOT / release["chartPath"])]
        arguments += ["--namespace", release["namespace"], "-f", str(overrides)]
        for key, value in sorted(release["setValueTemplates"].items()):
            arguments += ["--set", f"{key}={expanded(value, images)}"]
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


def test_a_patch_that_has_no_place_is_an_error() -> None:
    with pytest.raises(KeyError):
        configuration("daemonless", "dev")


def test_every_profile_that_is_promised_is_there() -> None:
    assert {profile["name"] for profile in configuration()["profiles"]} == set(PROFILES)


def stages(dockerfile: str) -> dict[str, str]:
    """Instructions by stage, without comments."""
    lines = "\n".join(line for line in dockerfile.splitlines() if line and not line.startswith("#"))
    return dict(re.findall(r"^FROM .*? AS ([\w-]+)\n(.*?)(?=^FROM |\Z)", lines, re.MULTILINE | re.DOTALL))


def test_targets_and_paths_exist() -> None:
    targets = {
        artifact["docker"]["target"]: stages((ROOT / artifact["docker"]["dockerfile"]).read_text())
        for profiles in ((), ("dev",))
        for artifact in configuration(*profiles)["build"]["artifacts"]
    }
    assert set(targets) == {"service", "dev", "operator"}
    assert all(target in found for target, found in targets.items())
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


def test_images_that_were_pushed_have_the_very_names_that_skaffold_looks_for(
    render: Callable[..., list[Document]],
) -> None:
    objects = render("dev", images=PUSHED)
    service = f"registry.example/team/slipway:abc@{DIGESTS['slipway']}"
    operator = f"registry.example/team/slipway-operator:def@{DIGESTS['slipway_operator']}"
    named = {
        each["image"]
        for found in objects
        if found["kind"] in {"Deployment", "Pod"}
        for each in pod_of(found).get("initContainers", []) + pod_of(found)["containers"]
    }
    assert named == {service, operator}


def pod_of(found: Document) -> Document:
    pod: Document = (found if found["kind"] == "Pod" else found["spec"]["template"])["spec"]
    return pod


@pytest.mark.parametrize("profiles", [(), *((name,) for name in PROFILES), ("dev", "daemonless")], ids="+".join)
def test_images_that_nobody_built_are_those_of_the_chart(
    render: Callable[..., list[Document]], profiles: tuple[str, ...]
) -> None:
    objects = render(*profiles, images=UNKNOWN)
    assert container(objects, "slipway")["image"] == "slipway:0.1.0"
    assert container(objects, "slipway-operator")["image"] == "slipway-operator:0.1.0"


# What is built anew

PATHS = {"slipway": "service/", "slipway-operator": "operator/"}
TOLD = [(), ("dev",), ("daemonless",), ("dev", "daemonless"), ("ci",), ("prod-like",)]


@pytest.mark.parametrize("profiles", TOLD, ids="+".join)
def test_a_change_of_one_half_builds_no_image_of_the_other(profiles: tuple[str, ...]) -> None:
    artifacts = {each["image"]: inputs(each) for each in configuration(*profiles)["build"]["artifacts"]}
    assert set(artifacts) == set(PATHS)
    for image, files in artifacts.items():
        assert any(name.startswith(PATHS[image]) for name in files)
        (other,) = set(PATHS) - {image}
        assert not [name for name in files if name.startswith(PATHS[other])]


def test_a_dockerfile_of_both_halves_would_be_noticed(tmp_path: Path) -> None:
    (artifact, _) = configuration()["build"]["artifacts"]
    for name in ("Dockerfile", ".dockerignore"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in ("service/slipway", "operator/slipway_operator", "requirements"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.py").touch()
    for name in sorted(inputs(artifact) - {"Dockerfile"}):
        if "/slipway/" not in name:
            (tmp_path / name).touch()
    assert "operator/slipway_operator/a.py" not in inputs(artifact, tmp_path)
    with (tmp_path / "Dockerfile").open("a") as file:
        file.write("FROM scratch AS operator\nCOPY --chown=1:1 operator /\n")
    assert "operator/slipway_operator/a.py" in inputs(artifact, tmp_path)


def test_without_docker_nothing_is_read_out_of_a_dockerfile_and_nothing_is_forgotten() -> None:
    # To read one, skaffold asks the registry for its base image.
    listed = {each["image"]: each for each in configuration("daemonless")["build"]["artifacts"]}
    for artifact in configuration()["build"]["artifacts"]:
        custom = listed[artifact["image"]]
        assert set(custom["custom"]["dependencies"]) == {"paths", "ignore"}
        assert inputs(custom) == inputs(artifact) | {".dockerignore"}


def test_archives_of_images_are_named_by_the_files_of_their_own_half() -> None:
    for artifact in configuration("dev")["build"]["artifacts"]:
        recipe = slipway(artifact["docker"]["target"], "0.1.0", "unknown")
        files = {str(path.relative_to(ROOT)) for path in recipe.files}
        assert files == inputs(artifact) | {".dockerignore"}
        assert recipe.dockerfile == artifact["docker"]["dockerfile"]


def test_stages_of_one_name_are_one_stage() -> None:
    service, operator = (stages((ROOT / name).read_text()) for name in ("Dockerfile", "operator/Dockerfile"))
    for name in ("builder", "packager", "runtime"):
        assert service[name] == operator[name]


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
