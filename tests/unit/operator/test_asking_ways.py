"""How pods are asked that aren't asked in clear text by number, and what is told of those that can't be asked."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trustme
from aiohttp import web

from slipway_operator.cluster import ForbiddenError, UnreachableError
from slipway_operator.evidence.asking import Asking, open_http
from slipway_operator.evidence.consumers import Consumers, Endpoint, Report, Tls, following, named, ways_out
from slipway_operator.evidence.pods import AMBIENT, MESHES
from slipway_operator.times import timestamp
from unit.operator.memory_api import MemoryApi
from unit.operator.test_asking import pod

NAME = "ships.example"
TLS = Tls("roots", NAME)
Serving = Callable[..., Awaitable[int]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def cluster(authority: trustme.CA) -> MemoryApi:
    found = MemoryApi()
    found.put("pods", pod("a"))
    found.put("configmaps", {"metadata": {"name": "roots"}, "data": {"ca.crt": authority.cert_pem.bytes().decode()}})
    return found


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Serves a document under /keys, or what a handler says; the port."""
    runners: list[web.AppRunner] = []

    async def fine(_: web.Request) -> web.StreamResponse:
        return web.json_response({"keys": ["k"], "signing": "k"})

    async def serve(handler: Any = fine, context: ssl.SSLContext | None = None) -> int:
        app = web.Application()
        app.router.add_get("/keys", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return int(runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()


def proving(authority: trustme.CA, name: str = NAME) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def told(cluster: MemoryApi, endpoint: Endpoint) -> list[Report]:
    async with open_http() as http:
        return list((await Asking(cluster, http).ask("ships", "keys", endpoint)).reports)


async def fault(cluster: MemoryApi, endpoint: Endpoint) -> str:
    (report,) = await told(cluster, endpoint)
    return report.fault


async def test_over_https_a_pod_is_believed_that_proves_its_name_by_the_authority(
    cluster: MemoryApi, serving: Serving, authority: trustme.CA
) -> None:
    port = await serving(context=proving(authority))
    (report,) = await told(cluster, Endpoint("", port, tls=TLS))
    assert (report.fault, report.signing) == ("", "k")


async def test_whoever_proves_another_name_or_by_another_authority_is_not_believed(
    cluster: MemoryApi, serving: Serving, authority: trustme.CA
) -> None:
    other_name = await serving(context=proving(authority, "ferry.example"))
    assert await fault(cluster, Endpoint("", other_name, tls=TLS)) == "CertificateRefused"
    stranger = await serving(context=proving(trustme.CA()))
    assert await fault(cluster, Endpoint("", stranger, tls=TLS)) == "CertificateRefused"


async def test_a_port_in_clear_text_is_not_fallen_back_to(cluster: MemoryApi, serving: Serving) -> None:
    assert await fault(cluster, Endpoint("", await serving(), tls=TLS)) == "TlsFailed"


async def test_a_server_that_wants_a_certificate_of_ours_is_told(
    cluster: MemoryApi, serving: Serving, authority: trustme.CA
) -> None:
    context = proving(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    assert await fault(cluster, Endpoint("", await serving(context=context), tls=TLS)) in ("TlsFailed", "Unreachable")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "CaMissing"), ({}, "CaMissing"), ({"ca.crt": ""}, "CaMissing"), ({"ca.crt": "no PEM"}, "CaUnusable")],
)
async def test_without_an_authority_nobody_is_asked(
    cluster: MemoryApi, data: dict[str, str] | None, reason: str
) -> None:
    cluster.put("configmaps", {"metadata": {"name": "roots"}, **({"data": data} if data is not None else {})})
    assert await fault(cluster, Endpoint("", 1, tls=TLS)) == reason


async def test_an_authority_that_may_not_be_read_is_told_and_one_that_is_away_is_waited_for(cluster: MemoryApi) -> None:
    cluster.faults["get configmaps"] = ForbiddenError(403, "Forbidden", "no")
    assert await fault(cluster, Endpoint("", 1, tls=TLS)) == "CaForbidden"
    cluster.faults["get configmaps"] = UnreachableError(0, "Unreachable", "away")
    with pytest.raises(UnreachableError):
        await told(cluster, Endpoint("", 1, tls=TLS))


async def test_a_port_is_found_by_the_name_that_each_pod_gives_it(cluster: MemoryApi, serving: Serving) -> None:
    first, second = await serving(), await serving()
    for name, kind, port in (("a", "containers", first), ("b", "initContainers", second)):
        one = pod(name)
        ports = [{"containerPort": 1}, {"name": "ops", "containerPort": port}]
        one["spec"][kind] = [{"name": "other"}, {"name": "x", "ports": ports}]
        cluster.put("pods", one)
    cluster.put("pods", pod("c"))
    found = {report.pod: (report.fault, report.detail) for report in await told(cluster, Endpoint("", "ops"))}
    assert found == {"a": ("", ""), "b": ("", ""), "c": ("PortUnknown", "no container names one ops")}


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def deny(_: web.Request) -> web.Response:
    return web.Response(status=403)


@pytest.mark.parametrize("refuse", [hang_up, deny])
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("proxy", MESHES)
async def test_a_mesh_that_takes_only_mtls_is_told_with_the_way_through(
    cluster: MemoryApi, serving: Serving, proxy: str, kind: str, refuse: Any
) -> None:
    meshed = pod("a")
    meshed["spec"][kind] = [{"name": proxy}]
    cluster.put("pods", meshed)
    port = await serving(refuse)
    (report,) = await told(cluster, Endpoint("", port))
    mesh, annotation = MESHES[proxy]
    assert report.fault == "MeshRefuses"
    annotated = f'annotate the pods with {annotation}: "{port}"'
    assert report.way == f"{mesh} takes only mTLS there: {annotated}, or take the operator into the mesh."


async def test_a_mesh_without_sidecars_is_told_too(cluster: MemoryApi, serving: Serving) -> None:
    cluster.objects["pods", "a"]["metadata"]["annotations"] = {AMBIENT: "enabled"}
    (report,) = await told(cluster, Endpoint("", await serving(hang_up)))
    assert report.fault == "MeshRefuses"
    assert "PeerAuthentication with portLevelMtls" in report.way


async def test_in_a_mesh_or_not_what_isnt_the_meshs_doing_keeps_its_name(cluster: MemoryApi, serving: Serving) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503)

    denied = await serving(deny)
    assert await fault(cluster, Endpoint("", await serving(hang_up))) == "Unreachable"
    assert await fault(cluster, Endpoint("", denied)) == "BadStatus"
    cluster.objects["pods", "a"]["spec"]["containers"] = [{"name": "istio-proxy"}]
    assert await fault(cluster, Endpoint("", await serving(busy))) == "BadStatus"
    assert await fault(cluster, Endpoint("", 1)) == "Unreachable", "nobody took the connection"
    assert await fault(cluster, Endpoint("", await serving())) == ""


def made_by(kind: str) -> dict[str, Any]:
    found = pod("backup")
    found["metadata"]["ownerReferences"] = [{"kind": kind, "name": "backup-1", "controller": True}]
    return found


async def test_a_pod_of_a_job_that_tells_nothing_is_named_with_since_when_it_runs(cluster: MemoryApi) -> None:
    cluster.put("pods", made_by("Job"))
    found = [one for one in await told(cluster, Endpoint("", 1)) if one.pod == "backup"]
    (lagging,) = following_all(found)
    assert named([lagging]) == "backup (JobRuns: since 2026-11-18T11:06:40Z, Unreachable)"
    assert (
        ways_out([lagging])
        == " Pods of Jobs that tell nothing are waited for until they end: let them, or delete them."
    )
    cluster.put("pods", made_by("ReplicaSet"))
    assert "JobRuns" not in [one.fault for one in await told(cluster, Endpoint("", 1))]


async def test_a_pod_of_a_job_that_tells_what_it_uses_is_like_any_other(cluster: MemoryApi, serving: Serving) -> None:
    cluster.put("pods", made_by("Job"))
    assert [one.fault for one in await told(cluster, Endpoint("", await serving()))] == ["", ""]


async def test_a_pod_of_a_lost_node_is_named_with_both_ways_out(cluster: MemoryApi) -> None:
    gone = pod("a")
    at = time.time() - 100
    gone["spec"]["nodeName"] = "node-7"
    gone["metadata"]["deletionTimestamp"] = timestamp(int(at))
    cluster.put("pods", gone)
    (report,) = await told(cluster, Endpoint("", 1))
    assert (report.fault, report.since) == ("NodeLost", int(at))
    assert "kubectl delete node node-7" in report.way


def following_all(reports: list[Report]) -> tuple[Any, ...]:
    return following(Consumers(tuple(reports), refers=True), lambda _: "").lagging
