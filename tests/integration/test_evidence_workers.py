"""A pod of several workers, as uvicorn runs them behind one port: the operator hears each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers.waiting import free_port, until
from slipway_operator.evidence.asking import Asking, open_http
from slipway_operator.evidence.consumers import Consumers, Endpoint, following
from unit.operator.memory_api import MemoryApi
from unit.operator.test_asking import pod

WORKERS = 3
APP = """
import json, os, uuid

PROCESS = uuid.uuid4().hex
try:
    os.close(os.open("late", os.O_CREAT | os.O_EXCL))
    SIGNING = os.environ["FIRST_SIGNS_WITH"]
except FileExistsError:
    SIGNING = "new"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    told = {"keys": ["old", "new"], "signing": SIGNING}
    told |= {"process": PROCESS, "processes": int(os.environ["WEB_CONCURRENCY"])}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
"""


@contextmanager
def workers(folder: Path, first: str) -> Iterator[int]:
    (folder / "workers.py").write_text(APP)
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", "workers:app", f"--port={port}", "--log-level=warning"]
    own = {**os.environ, "WEB_CONCURRENCY": str(WORKERS), "FIRST_SIGNS_WITH": first, "PYTHONPATH": str(folder)}
    process = subprocess.Popen(words, cwd=folder, env=own)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def look(port: int) -> Consumers:
    api = MemoryApi()
    api.put("pods", pod("a"))
    async with open_http() as http:
        return await Asking(api, http).ask("ships", "keys", Endpoint("", port))


@pytest.mark.parametrize(("first", "lagging"), [("new", []), ("old", [("a", "SignsWithOther")])])
async def test_a_pod_of_three_workers_follows_only_if_all_three_do(
    tmp_path: Path, first: str, lagging: list[tuple[str, str]]
) -> None:
    with workers(tmp_path, first) as port:
        found = Consumers()

        async def all_heard() -> bool:
            nonlocal found
            found = await look(port)
            return bool(found.reports) and not any(report.fault for report in found.reports)

        await until(all_heard, within=20)
        assert len(found.reports) == WORKERS
        behind = following(found, lambda report: "" if report.signing == "new" else "SignsWithOther").lagging
        assert [(one.pod, one.reason) for one in behind] == lagging
