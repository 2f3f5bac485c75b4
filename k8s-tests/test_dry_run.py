"""Every object that the chart renders is what a real API server takes, with the real definitions of others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from charts import definitions, third_party
from charts.render import DEMO, EXAMPLES, PRODUCTION, Document, Renderer
from cluster.commands import CommandError
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from cluster.model import Cluster

ODD: Mapping[str, Any] = {
    "demo": True,
    "replicas": 0,
    "worker": {"replicas": 0},
    "commonLabels": {"app.kubernetes.io/name": "never", "app.kubernetes.io/component": "never", "on": "yes"},
    "podLabels": {"app.kubernetes.io/instance": "never"},
    "serviceAccount": {"name": "0123"},
    "priorityClassName": "017",
    "imagePullSecrets": ["twice", {"name": "twice"}],
    "global": {"imagePullSecrets": ["twice"], "imageRegistry": "mirror.example.com:5000"},
    "image": {"tag": "1.10", "digest": f"sha256:{'a' * 64}"},
    "extraEnv": [
        {"name": "SLIPWAY_RATE_LIMIT_REPLICAS", "value": "3"},
        {"name": "SLIPWAY_MIGRATION_BUDGET", "value": 'a "quoted" {{ value }}: # \n of two lines'},
    ],
    "ingress": {"enabled": True, "hosts": ["1.2", "a.example.com"], "className": "17", "path": "/a: b #c"},
    "autoscaling": {"enabled": True},
}
"""What people do that nobody thought of; a list that says something twice is refused by server-side apply."""
RELEASES = {"odd": "01.ships", "odd names": "01.ships.of.the.line-with-the-longest-name-there-is-1"}
VALUES: dict[str, Mapping[str, Any]] = {
    "demo=true": DEMO,
    "odd": {**ODD, "fullnameOverride": "ships"},
    "odd names": {**ODD, "fullnameOverride": "s" * 70},
    "no ids and no sidecars": {
        **DEMO,
        "fixedIds": False,
        "autoscaling": {"enabled": True},
        "jobAnnotations": {"sidecar.istio.io/inject": "false"},
        "migrations": {"approval": "Always"},
    },
    "the least of production": PRODUCTION,
    **{path.name: yaml.safe_load(path.read_text()) for path in EXAMPLES.values()},
}
KINDS_OF_OTHERS = {"Certificate", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    """With every definition in place. Those of others that were there already stay as they are, the rest goes again."""
    definitions.establish(cluster.kubectl, definitions.ours())
    missing = definitions.absent(cluster.kubectl, list(third_party.definitions()))
    definitions.establish(cluster.kubectl, missing)
    yield cluster.kubectl
    definitions.remove(cluster.kubectl, missing)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """Refuses pods that break Pod Security `restricted`, and warns of templates that would make such pods."""
    with cluster.namespace(f"test-dry-run-{uuid4().hex[:8]}") as name:
        kubectl.run("label", "namespace", name, "pod-security.kubernetes.io/warn=restricted", "--overwrite")
        yield name


@pytest.fixture(scope="module")
def rendered(cluster: Cluster, namespace: str) -> dict[str, list[Document]]:
    """Every object by the example that it is in."""
    renderer = Renderer(cluster.helm.path)
    return {
        name: renderer.objects(values, release=RELEASES.get(name, "slipway"), namespace=namespace).all
        for name, values in VALUES.items()
    }


@pytest.fixture(scope="module")
def presumed(kubectl: Kubectl, namespace: str, rendered: dict[str, list[Document]]) -> Iterator[None]:
    """What a pod is refused without, made in earnest: its ServiceAccount, and the PriorityClass that it names."""
    everything = [document for documents in rendered.values() for document in documents]
    accounts = {d["metadata"]["name"]: d for d in everything if d["kind"] == "ServiceAccount"}
    kubectl.apply(list(accounts.values()), namespace)
    there = set(kubectl.run("get", "priorityclasses", "--output=name").split())
    named = {
        d["spec"]["priorityClassName"] for d in everything if d["kind"] == "Pod" and "priorityClassName" in d["spec"]
    }
    missing = sorted(name for name in named if f"priorityclass.scheduling.k8s.io/{name}" not in there)
    for name in missing:
        kubectl.run("create", "priorityclass", name, "--value=1")
    yield
    for name in missing:
        kubectl.run("delete", "priorityclass", name)


def dry_run(kubectl: Kubectl, namespace: str, documents: list[Document]) -> list[str]:
    """Names of the objects that the API server would have taken; a warning counts as an error."""
    arguments = ("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "--output=name", "--filename=-")
    answer = kubectl.run(*arguments, f"--namespace={namespace}", input=yaml.safe_dump_all(documents), timeout=120)
    return answer.split()


@pytest.mark.usefixtures("presumed")
@pytest.mark.parametrize("example", list(VALUES))
def test_every_object_of_an_example_is_accepted(
    kubectl: Kubectl, namespace: str, rendered: dict[str, list[Document]], example: str
) -> None:
    accepted = dry_run(kubectl, namespace, rendered[example])

    assert len(accepted) == len(rendered[example]) > 0


def test_the_examples_have_objects_of_every_kind_of_others(rendered: dict[str, list[Document]]) -> None:
    kinds = {document["kind"] for documents in rendered.values() for document in documents}

    assert kinds >= KINDS_OF_OTHERS


def put(*path: str | int, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        target: Any = document
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


BROKEN: list[tuple[str, Callable[[Document], None], str]] = [
    ("Deployment", put("spec", "replica", value=3), "field not declared in schema"),
    ("Deployment", put("spec", "selector", "matchLabels", value={"app": "another"}), "selector"),
    ("Deployment", put("spec", "template", "spec", "hostNetwork", value=True), "would violate PodSecurity"),
    (
        "Deployment",
        put("spec", "template", "spec", "imagePullSecrets", value=[{"name": "twice"}] * 2),
        "duplicate entries for key",
    ),
    ("Service", put("spec", "ports", 0, "port", value=70000), "spec.ports[0].port"),
    ("NetworkPolicy", put("spec", "policyTypes", value=["Outgress"]), "spec.policyTypes[0]"),
    ("HorizontalPodAutoscaler", put("spec", "maxReplicas", value=0), "spec.maxReplicas"),
    ("PodDisruptionBudget", put("spec", "minAvailable", value=1), "cannot be both set"),
    ("Certificate", put("spec", "secretName", value=None), "spec.secretName"),
    ("Certificate", put("spec", "issuer", value="x"), "issuer"),
    ("HTTPRoute", put("spec", "rules", 0, "matches", value=[{"path": {"type": "Prefix"}}]), "path.type"),
    ("PrometheusRule", put("spec", "groups", 0, "rules", 0, "for", value="soon"), "for"),
    ("ServiceMonitor", put("spec", "endpoints", 0, "interval", value="often"), "interval"),
    ("ServiceMonitor", put("spec", "endpoint", value=[]), "endpoint"),
]


@pytest.mark.usefixtures("presumed")
@pytest.mark.parametrize(("kind", "change", "complaint"), BROKEN)
def test_a_broken_object_is_refused(
    kubectl: Kubectl,
    namespace: str,
    rendered: dict[str, list[Document]],
    kind: str,
    change: Callable[[Document], None],
    complaint: str,
) -> None:
    everything = [document for documents in rendered.values() for document in documents]
    document = copy.deepcopy(next(document for document in everything if document["kind"] == kind))
    change(document)

    with pytest.raises(CommandError) as raised:
        dry_run(kubectl, namespace, [document])

    assert complaint in raised.value.stderr


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_text((third_party.PINS / name).read_text())
    return tmp_path


def test_definitions_of_others_that_go_sum_does_not_name_are_refused(pins: Path) -> None:
    sums = (pins / "go.sum").read_text().splitlines(keepends=True)
    (pins / "go.sum").write_text("".join(line for line in sums if "/go.mod " in line))

    with pytest.raises(ClusterError, match=r"go\.sum has no line for"):
        list(third_party.definitions(pins))


def test_definitions_of_others_with_another_content_are_refused(pins: Path) -> None:
    sums = (pins / "go.sum").read_text()
    digest = sums.split("h1:", 1)[1].split("=")[0]
    (pins / "go.sum").write_text(sums.replace(digest, "A" * len(digest)))

    with pytest.raises(CommandError, match="checksum mismatch"):
        list(third_party.definitions(pins))
