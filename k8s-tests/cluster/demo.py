"""The whole try-out: the images of Slipway and its operator, built here and loaded, and the chart with demo values."""

from __future__ import annotations

from pathlib import Path

from cluster.model import Cluster
from cluster.progress import Progress

CHART = Path(__file__).parents[2] / "chart"
RELEASE = "slipway"
NAMESPACE = "slipway"
INSTALL_SECONDS = 300.0
ADMINISTRATOR = ("admin@example.com", "slipway-demo")


def install(cluster: Cluster, progress: Progress) -> str:
    """What to open and who to sign in as, once every pod is ready. Again: upgrades what is there."""
    _load_images(cluster, progress)
    with progress.step("definitions of slipway.dev"):
        cluster.kubectl.run("apply", "--server-side", "--force-conflicts", f"--filename={CHART / 'crds'}")
        cluster.kubectl.run("wait", "--for=condition=Established", f"--filename={CHART / 'crds'}", "--timeout=30s")
    with progress.step("helm: the chart with demo=true"):
        cluster.helm.run(
            "upgrade",
            RELEASE,
            str(CHART),
            "--install",
            f"--namespace={NAMESPACE}",
            "--create-namespace",
            "--set=demo=true",
            *([] if cluster.node_address is None else ["--set=service.type=NodePort"]),
            "--wait",
            "--wait-for-jobs",
            f"--timeout={INSTALL_SECONDS:g}s",
            timeout=INSTALL_SECONDS + 30,
        )
    return _welcome(cluster)


def uninstall(cluster: Cluster, progress: Progress) -> None:
    """Remove release and namespace from a cluster that stays."""
    with progress.step("demo removed"):
        cluster.helm.run("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait")
        cluster.kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=INSTALL_SECONDS)


def _load_images(cluster: Cluster, progress: Progress) -> None:
    from cluster.images import base, build  # noqa: PLC0415 - a cluster without the demo needs no image

    with progress.step("images of Slipway, its operator, PostgreSQL and Redis"):
        archives = [
            build.build(),
            build.build("operator", build.OPERATOR_TAG),
            base.base_archive(base.POSTGRES),
            base.base_archive(base.REDIS),
        ]
    with progress.step("images loaded"):
        for archive in archives:
            cluster.load_image(archive)


def _welcome(cluster: Cluster) -> str:
    email, password = ADMINISTRATOR
    return "\n".join(
        [
            "",
            f"Slipway      {_address(cluster)}",
            f"Sign in as   {email} with the password {password}",
            f"kubectl      export KUBECONFIG={cluster.kubeconfig}  # namespace {NAMESPACE}",
        ]
    )


def _address(cluster: Cluster) -> str:
    """The URL of the API, or the command that gives it one."""
    if cluster.node_address is None:
        return f"http://127.0.0.1:8000 after: kubectl port-forward -n {NAMESPACE} service/{RELEASE} 8000:80"
    service = cluster.kubectl.json("get", "service", RELEASE, f"--namespace={NAMESPACE}")
    return f"http://{cluster.node_address}:{service['spec']['ports'][0]['nodePort']}"
