"""KeyRings by the hundred, and one HTTP server that answers for every pod of theirs.

Each ring has a pod object that nobody runs: its status says that it does, at the address of this very machine.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from cluster.kubectl import Kubectl

ADDRESS = "127.0.0.1"
LIFETIME = 30.0
"""Seconds for which tokens live, as the pods tell."""
RING = "app"
"""Label of a ring's pod."""


def ring(number: int, port: int, nonce: str = "") -> dict[str, Any]:
    name = f"r{number:04}"
    spec = {
        "secretName": name,
        "rotateEvery": "720h",
        "tokenLifetime": f"{LIFETIME:g}s",
        "leeway": "1s",
        "validatorCache": "1s",
        "propagation": "1s",
        "deletionPolicy": "Delete",
        "consumers": {"selector": {"matchLabels": {RING: name}}, "port": port, "path": f"/{name}"},
        **({"rotateNonce": nonce} if nonce else {}),
    }
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "KeyRing", "metadata": {"name": name}, "spec": spec}


def pod(number: int) -> dict[str, Any]:
    """Its scheduler doesn't exist, so that no node takes it."""
    name = f"r{number:04}"
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "app", "image": "app:1", "securityContext": restricted}
    keys = {"name": "keys", "secret": {"secretName": name}}
    spec = {"schedulerName": "nobody", "securityContext": security, "containers": [container], "volumes": [keys]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {RING: name}}, "spec": spec}


def running_pod(number: int) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    told = {"name": "app", "image": "app:1", "imageID": "", "ready": True, "started": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "containerStatuses": [{**told, "state": state}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"r{number:04}"}, "status": status}


class Pods:
    """All pods as one: each holds what its Secret does, as soon as that is seen."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._held: dict[str, dict[str, Any]] = {}
        self.signing_since: dict[str, list[float]] = {}
        """Ring → monotonic times at which its Secret was seen to name another signing key."""

    @asynccontextmanager
    async def answering(self, port: int) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_get("/{ring}", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, ADDRESS, port).start()
        try:
            async with self._watching():
                yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        held = self._held.get(request.match_info["ring"])
        return web.json_response(held) if held else web.Response(status=503)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        columns = r"NAME:.metadata.name,KEYS:.data.jwks\.json,SIGNING:.data.signing"
        options = ("get", "secrets", f"--namespace={self._namespace}", "--watch", "--no-headers", "--output")
        process = await asyncio.create_subprocess_exec(
            self._kubectl.path,
            f"--kubeconfig={self._kubectl.kubeconfig}",
            *options,
            f"custom-columns={columns}",
            env={**os.environ, **self._kubectl.environment},
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        reading = asyncio.create_task(self._read(process))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            await reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        async for line in process.stdout:
            name, keys, signing = line.decode().split()
            if keys == "<none>" or signing == "<none>":
                continue
            ids = [key["kid"] for key in json.loads(base64.b64decode(keys))["keys"]]
            signs = base64.b64decode(signing).decode()
            if self._held.get(name, {}).get("signing") != signs:
                self.signing_since.setdefault(name, []).append(time.monotonic())
            self._held[name] = {"keys": ids, "signing": signs, "token_lifetime": LIFETIME}
