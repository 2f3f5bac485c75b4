"""The chart under Helm 3: the same objects as under Helm 4, and the demo from install to uninstall."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from charts.render import CHART, EXAMPLES
from cluster.binaries import tool
from cluster.helm import Helm
from cluster.model import Cluster
from cluster.settings import KUBERNETES_VERSION

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_helm_3_renders_the_same_objects(example: Path) -> None:
    three, four = (
        # A Helm 3 that isn't stamped by its release build takes every cluster for an old one.
        Helm(tool(program)).template(
            "slipway",
            CHART,
            namespace="somewhere",
            values_files=[example],
            arguments=[f"--kube-version={KUBERNETES_VERSION}"],
        )
        for program in ("helm3", "helm")
    )
    assert sorted(map(str, three)) == sorted(map(str, four))


def test_the_demo_installs_upgrades_and_uninstalls_with_helm_3(
    cluster: Cluster, service_image: str, next_image: str
) -> None:
    helm = Helm(tool("helm3"), cluster.kubeconfig)
    with cluster.namespace(f"helm-3-{uuid4().hex[:6]}") as namespace:
        scope = f"--namespace={namespace}"
        bounded = (scope, "--wait", "--timeout=180s")
        for action, image in (("install", service_image), ("upgrade", next_image)):
            tag = image.split(":")[1]
            helm.run(action, "slipway", str(CHART), *bounded, "--set=demo=true", f"--set=image.tag={tag}", timeout=200)
            assert "Phase:          Succeeded" in helm.run("test", "slipway", scope, "--timeout=60s", timeout=90)
        helm.run("rollback", "slipway", "1", *bounded, timeout=200)
        helm.run("uninstall", "slipway", *bounded, timeout=200)
        deployments = cluster.kubectl.json("get", "deployments,statefulsets,jobs", scope)["items"]
        assert [found["metadata"]["name"] for found in deployments] == []
