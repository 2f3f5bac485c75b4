"""Every render of the chart: deterministic, restricted, free of secrets, and with names that hold together."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import yaml

from charts.render import CHART, DEMO, EXAMPLES, PRODUCTION, Document, Objects, Renderer, merged
from cluster.helm import Helm

EVERYTHING = merged(
    yaml.safe_load(EXAMPLES["production"].read_text()),
    {
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
        "commonLabels": {"team": "harbour"},
        "podLabels": {"app.kubernetes.io/name": "never"},
    },
)
AUTOSCALED_DEMO = {"demo": True, "autoscaling": {"enabled": True}}
CASES: dict[str, dict[str, Any]] = {
    "demo": dict(DEMO),
    "production": dict(PRODUCTION),
    "everything": EVERYTHING,
    **{f"example {name}": yaml.safe_load(path.read_text()) for name, path in EXAMPLES.items()},
}
LABEL = re.compile(r"^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$")
DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
DEMO_PASSWORD = "slipway-demo"
OF_THE_OPERATORS_JOBS = "slipway.dev/schemamigration"
SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}


@pytest.fixture(scope="module", params=CASES, ids=str)
def objects(renderer: Renderer, request: pytest.FixtureRequest) -> Objects:
    return renderer.objects(CASES[request.param])


def containers(pod: Document) -> list[Document]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def broken_restrictions(pod: Document) -> list[str]:
    """What the Pod Security Standard `restricted` would say, and that the root file system is read-only."""
    spec = pod["spec"]
    security = spec["securityContext"]
    faults = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    faults += [] if security.get("runAsNonRoot") is True and security.get("runAsUser") else ["runs as root"]
    faults += [] if security.get("seccompProfile") == {"type": "RuntimeDefault"} else ["no seccomp profile"]
    for volume in spec.get("volumes", []):
        faults += [f"volume {kind}" for kind in volume.keys() - RESTRICTED_VOLUMES - {"name"}]
    for container in containers(pod):
        own = container["securityContext"]
        faults += [] if own.get("allowPrivilegeEscalation") is False else [f"{container['name']} may escalate"]
        faults += [] if own.get("capabilities") == {"drop": ["ALL"]} else [f"{container['name']} has capabilities"]
        faults += [] if own.get("readOnlyRootFilesystem") is True else [f"{container['name']} writes its root"]
        faults += [f"{container['name']}: {key}" for key in ("privileged", "procMount") if key in own]
        faults += [f"{container['name']} has a host port" for port in container.get("ports", []) if "hostPort" in port]
    return faults


def test_the_linter_finds_nothing(renderer: Renderer) -> None:
    said = Helm(renderer.program).run("lint", "--strict", str(CHART), "--set=demo=true")
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("case", CASES)
def test_the_same_values_render_the_same_bytes(renderer: Renderer, case: str) -> None:
    assert renderer.text(CASES[case]) == renderer.text(CASES[case])


def test_no_template_asks_the_cluster_the_clock_or_chance() -> None:
    chance = re.compile(r"\b(lookup|rand\w+|now|ago|uuidv4|gen(?:CA|SelfSigned\w*|Signed\w*|PrivateKey)\w*|date\w*)\b")
    actions = re.compile(r"\{\{-?(?!/\*)(?!- /\*)(.*?)-?\}\}", re.DOTALL)
    found = {
        (path.name, word.group())
        for path in sorted((CHART / "templates").rglob("*"))
        if path.is_file()
        for action in actions.findall(path.read_text())
        for word in chance.finditer(re.sub(r'"(?:[^"\\]|\\.)*"', '""', action))
        if not action.lstrip().startswith("/*")
    }
    assert found == set()


def test_every_pod_is_restricted(objects: Objects) -> None:
    assert {name: broken_restrictions(pod) for name, pod in objects.pods().items()} == {
        name: [] for name in objects.pods()
    }


def test_a_pod_that_is_not_restricted_is_found_out(renderer: Renderer) -> None:
    loose = renderer.objects(merged(DEMO, {"securityContext": {"readOnlyRootFilesystem": False}}))
    assert broken_restrictions(loose.pods()["Deployment/slipway"]) == ["wait writes its root", "api writes its root"]


def test_no_pod_gets_a_token_but_the_operator_and_the_hand_over(objects: Objects) -> None:
    accounts = {account["metadata"]["name"] for account in objects.of_kind("ServiceAccount")}
    assert all(account["automountServiceAccountToken"] is False for account in objects.of_kind("ServiceAccount"))
    for name, pod in objects.pods().items():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] in accounts
        holds = [v for v in pod["spec"].get("volumes", []) if "serviceAccountToken" in yaml.safe_dump(v)]
        assert bool(holds) == name.endswith(("-operator", "-hand-over"))


def test_every_container_says_what_it_needs(objects: Objects) -> None:
    for pod in objects.pods().values():
        for container in containers(pod):
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}


def test_no_secret_is_in_an_environment_a_command_or_a_config_map(objects: Objects) -> None:
    for pod in objects.pods().values():
        for container in containers(pod):
            for entry in container.get("env", []):
                assert "valueFrom" not in entry
                assert not re.search(rf"(^|[:@/]){DEMO_PASSWORD}\b", str(entry["value"])), entry["name"]
                assert not re.search(
                    r"(PASSWORD|_URL|SECRET|TOKEN)$", re.sub("(RESET|CHANGE)_URL", "", entry["name"])
                ), entry
            words = [*container.get("command", []), *container.get("args", [])]
            assert DEMO_PASSWORD not in words
    assert not any(DEMO_PASSWORD in str(found["data"]) for found in objects.of_kind("ConfigMap"))


def test_the_demo_holds_the_only_secrets_that_are_made(renderer: Renderer, objects: Objects) -> None:
    made = {f"slipway-{name}" for name in ("admin", "database-owner", "redis")}
    assert {secret["metadata"]["name"] for secret in objects.of_kind("Secret")} in (set(), made)
    by_nobody = renderer.objects(merged(DEMO, {"migrations": {"mode": "job"}}))
    known = {secret["metadata"]["name"] for secret in by_nobody.of_kind("Secret")}
    assert known == made | {"slipway-database", "slipway-signing-keys"}
    owner = renderer.objects(DEMO).one("Secret", "slipway-database-owner")["data"]
    assert base64.b64decode(owner["password"]).decode() == DEMO_PASSWORD


def test_selectors_are_name_instance_and_component_and_meet_one_kind_of_pod(objects: Objects) -> None:
    pods = [pod["metadata"]["labels"] for pod in objects.pods().values()]
    for kind, path in (("Deployment", ("selector", "matchLabels")), ("StatefulSet", ("selector", "matchLabels"))):
        for document in objects.of_kind(kind):
            assert document["spec"][path[0]][path[1]].keys() == SELECTOR
    for kind, key in (("Service", "selector"), ("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        for document in objects.of_kind(kind):
            selector = document["spec"][key].get("matchLabels", document["spec"][key])
            if OF_THE_OPERATORS_JOBS in selector:
                continue
            assert selector.keys() == SELECTOR
            assert sum(selector.items() <= labels.items() for labels in pods) == 1, document["metadata"]["name"]


def test_common_labels_and_annotations_are_on_every_object_and_pod(renderer: Renderer) -> None:
    values = {"commonLabels": {"team": "harbour"}, "commonAnnotations": {"owner": "ada"}, **AUTOSCALED_DEMO}
    objects = renderer.objects(values)
    assert {document["metadata"]["labels"]["team"] for document in objects.all} == {"harbour"}
    assert {document["metadata"]["annotations"]["owner"] for document in objects.all} == {"ada"}
    assert {pod["metadata"]["labels"]["team"] for pod in objects.pods().values()} == {"harbour"}


def test_labels_of_the_user_never_replace_those_that_select(renderer: Renderer) -> None:
    labels = renderer.objects(EVERYTHING).pods()["Deployment/slipway"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "slipway"
    assert labels["team"] == "harbour"


def test_a_new_version_of_the_chart_alone_replaces_no_pod(objects: Objects) -> None:
    for pod in (pod for name, pod in objects.pods().items() if not name.startswith("Pod/")):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod["metadata"]["labels"].keys()


def references(objects: Objects) -> dict[str, set[str]]:
    """Names that pods and other objects of the release use, by the kind that they must be found in."""
    used: dict[str, set[str]] = {"ServiceAccount": set(), "Secret": set(), "ConfigMap": set()}
    for pod in objects.pods().values():
        used["ServiceAccount"].add(pod["spec"]["serviceAccountName"])
        for volume in pod["spec"].get("volumes", []):
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                if "secret" in source:
                    used["Secret"].add(source["secret"].get("secretName") or source["secret"]["name"])
                if "configMap" in source and source["configMap"]["name"] != "kube-root-ca.crt":
                    used["ConfigMap"].add(source["configMap"]["name"])
    # The operator makes these, and nobody else may.
    used["Secret"] -= {document["spec"]["secretName"] for document in objects.all if document["kind"] in ROTATING}
    used["Service"] = {document["spec"]["serviceName"] for document in objects.of_kind("StatefulSet")}
    used["Deployment"] = {
        document["spec"]["scaleTargetRef"]["name"] for document in objects.of_kind("HorizontalPodAutoscaler")
    }
    return used


ROTATING = ("KeyRing", "DatabaseLogin")
LONG = "a-release-with-the-longest-name-that-helm-would-take1"
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "short": ("slipway", {}),
    "another": ("ships", {}),
    "as long as helm takes": (LONG, {}),
    "with dots, which a Service can't have": ("ships.of.the.line", {}),
    "overridden and longer than 63": ("slipway", {"fullnameOverride": "x" * 62 + "-y" * 10}),
    "chart name overridden and long": (LONG, {"nameOverride": "n" * 63}),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_are_cut_right_and_still_meet(renderer: Renderer, case: str) -> None:
    release, names = NAMES[case]
    values = merged(AUTOSCALED_DEMO, names)
    objects = renderer.objects(values, release=release)
    found = [(document["kind"], document["metadata"]["name"]) for document in objects.all]
    assert len(found) == len(set(found))
    for kind, name in found:
        assert DNS_LABEL.match(name), name
        # The controller adds a hash of eleven characters and uses it as a label.
        assert kind != "StatefulSet" or len(name) <= 52
    for kind, used in references(objects).items():
        assert used <= {name for found_kind, name in found if found_kind == kind}
    for document in objects.all:
        assert all(LABEL.match(str(value)) for value in document["metadata"]["labels"].values())
    hosts = base64.b64decode(objects.of_kind("Secret")[0]["data"]["host"]).decode()
    assert hosts in {document["metadata"]["name"] for document in objects.of_kind("Service")}


def test_names_that_are_cut_alike_stay_apart(renderer: Renderer) -> None:
    first, second = (
        {d["metadata"]["name"] for d in renderer.objects(merged(DEMO, {"fullnameOverride": "x" * 63 + end})).all}
        for end in ("a", "b")
    )
    assert not first & second


def test_dots_and_hyphens_stay_apart(renderer: Renderer) -> None:
    first, second = ({d["metadata"]["name"] for d in renderer.objects(DEMO, release=r).all} for r in ("a.b", "a-b"))
    assert not first & second


def test_a_release_named_after_the_chart_is_not_named_twice(renderer: Renderer) -> None:
    assert renderer.objects(DEMO, release="my-slipway").one("Deployment", "my-slipway")
    assert renderer.objects(DEMO, release="ships").one("Deployment", "ships-slipway")


def test_every_object_is_in_the_namespace_of_the_release_or_in_none(objects: Objects) -> None:
    of_the_cluster = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for document in objects.all:
        expected = None if document["kind"] in of_the_cluster else "ships"
        assert document["metadata"].get("namespace") == expected


def test_only_the_hand_over_and_the_test_are_hooks(objects: Objects) -> None:
    for document in objects.all:
        hook = document["metadata"].get("annotations", {}).get("helm.sh/hook")
        component = document["metadata"]["labels"]["app.kubernetes.io/component"]
        assert hook == (
            "pre-upgrade,pre-rollback" if component == "hand-over" else "test" if document["kind"] == "Pod" else None
        )
