"""The operator as the benchmark runs it: its Jobs are left alone by the cluster, and their logs are made up here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import zlib
from typing import Any

import aiohttp
from prometheus_client import Counter

from slipway_operator import logs, main
from slipway_operator.cluster import Api, Json, Resource
from slipway_operator.settings import Settings
from slipway_operator.telemetry import REGISTRY

MANAGER = "slipway.dev/benchmark"
"""The cluster's Job controller leaves Jobs of another manager alone, so that their status can be written."""

CALLS = Counter("benchmark_api_calls", "Requests to the API server, kopf's included", ["method"], registry=REGISTRY)


def plan() -> str:
    """The log of a plan Job that found nothing to do."""
    document = {
        "version": 1,
        "database": {"system": "1", "name": "benchmark"},
        "current": "0001",
        "target": "0001",
        "partial": False,
        "foreign": [],
        "revisions": [],
    }
    data = base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()
    return "slipway.dev/v1 " + json.dumps({"type": "plan", "part": 1, "parts": 1, "data": data})


class BenchmarkApi(Api):
    """The real one but for what a pod that never ran can't give."""

    async def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        if resource.plural == "jobs":
            body = {**body, "spec": {**body["spec"], "managedBy": MANAGER}}
        return await super().create(resource, namespace, body)

    async def log(self, namespace: str, pod: str, *, container: str, tail: int | None = None, limit: int) -> str:
        del namespace, pod, container, tail, limit
        return plan()


def count_calls() -> None:
    """Count each request of this process to the API server."""
    request = aiohttp.ClientSession._request  # noqa: SLF001 - every way of asking goes through it

    async def counted(self: aiohttp.ClientSession, method: str, *args: Any, **options: Any) -> aiohttp.ClientResponse:
        url = str(args[0] if args else options.get("url", ""))
        if not url.startswith("http:"):  # which is how pods are asked, and nobody else
            CALLS.labels(method.upper()).inc()
        return await request(self, method, *args, **options)

    aiohttp.ClientSession._request = counted  # type: ignore[method-assign] # noqa: SLF001


if __name__ == "__main__":
    count_calls()
    logs.configure("WARNING")
    asyncio.run(main.operate(Settings.from_environment(os.environ), BenchmarkApi()))
