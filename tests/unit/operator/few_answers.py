"""An API server that holds a few answers, for a whole operator, or its watches."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from slipway_operator import definitions, watch

LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/slipway-operator"
GONE: dict[str, Any] = {"kind": "Status", "code": 404, "reason": "NotFound", "message": "gone"}


def kind(plural: str, name: str) -> dict[str, Any]:
    verbs = ["list", "watch", "patch"]
    return {"name": plural, "singularName": "", "kind": name, "namespaced": True, "verbs": verbs}


def group(name: str, version: str) -> dict[str, Any]:
    served = {"version": version, "groupVersion": f"{name}/{version}"}
    return {"name": name, "versions": [served], "preferredVersion": served}


SERVED: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [kind("namespaces", "Namespace"), kind("events", "Event")]},
    "/apis": {
        "groups": [group("slipway.dev", "v1alpha1"), group("batch", "v1"), group("coordination.k8s.io", "v1")],
    },
    "/apis/slipway.dev/v1alpha1": {"resources": [kind(path[2], name) for name, path in watch.KINDS.items()]},
    "/apis/batch/v1": {"resources": [kind("jobs", "Job")]},
    "/apis/coordination.k8s.io/v1": {"resources": [kind("leases", "Lease")]},
}


def defined() -> dict[str, Any]:
    """The schemas of our kinds, as the API server tells them."""
    return {
        kind: {**schema, definitions.GVK: [{"group": watch.GROUP, "version": watch.VERSION, "kind": kind}]}
        for kind, schema in definitions.shipped().items()
    }


class FewAnswers:
    """Lists that are empty, watches that tell of the Lease and of `events`, and what a test puts into `documents`."""

    def __init__(self) -> None:
        self.documents = {**SERVED, definitions.OPENAPI: {"components": {"schemas": defined()}}}
        self.paths: list[str] = []
        self.lease: dict[str, Any] | None = None
        self.events: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        """By plural: what its watch tells next."""
        self.taken = False
        self.watches_fail = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(f"{request.method} {request.path_qs}")
        if request.method in ("PATCH", "PUT") and self.taken:
            return web.json_response({"kind": "Status", "code": 409, "reason": "Conflict"}, status=409)
        if request.method in ("PATCH", "PUT"):
            self.lease = json.loads(await request.text())
            self.lease["metadata"] |= {"uid": "u", "resourceVersion": "2"}
            self.events["leases"].put_nowait({"type": "MODIFIED", "object": self.lease})
            return web.json_response(self.lease)
        if request.path == LEASE and self.lease is not None:
            return web.json_response(self.lease)
        if "watch" in request.query:
            return await self._watch(request)
        if "limit" in request.query or ("/namespaces/" in request.path and request.path != LEASE):
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        found = self.documents.get(request.path)
        return web.json_response(found or GONE, status=200 if found else 404)

    def takes(self, lease: dict[str, Any]) -> None:
        """Somebody else has it from now on, and nobody may write over that."""
        self.lease, self.taken = lease, True

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.watches_fail.is_set():
            return web.json_response(GONE, status=404)
        response = web.StreamResponse()
        await response.prepare(request)
        failing = asyncio.create_task(self.watches_fail.wait())
        while not failing.done():
            told = asyncio.create_task(self.events[request.path.rpartition("/")[2]].get())
            await asyncio.wait({told, failing}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                await response.write(json.dumps(told.result()).encode() + b"\n")
            told.cancel()
        return response


@asynccontextmanager
async def served(answers: FewAnswers, folder: Path) -> AsyncIterator[Path]:
    """Yields the path of a kubeconfig that leads to it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = folder / "kubeconfig"
    cluster = {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "s3cret"}}],
    }
    path.write_text(json.dumps(content))
    try:
        yield path
    finally:
        answers.watches_fail.set()
        await runner.cleanup()
