"""The whole process, against a server that holds a few answers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servers.waiting import free_port, until
from slipway_operator import definitions
from unit.operator.few_answers import SERVED, FewAnswers, served


@pytest.fixture
def answers() -> FewAnswers:
    return FewAnswers()


@pytest.fixture
async def kubeconfig(answers: FewAnswers, tmp_path: Path) -> AsyncIterator[Path]:
    async with served(answers, tmp_path) as path:
        yield path


class Operator:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    async def probe(self, path: str) -> tuple[int, str]:
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
                return response.status, (await response.text()).strip()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        output, _ = await asyncio.wait_for(self.process.communicate(), 30)
        assert b"s3cret" not in output
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in output.decode().splitlines()]


@pytest.fixture
async def operator(kubeconfig: Path) -> AsyncIterator[Operator]:
    port = free_port()
    variables = {"NAMESPACES": "shop", "NAMESPACE": "shop", "OPS_PORT": str(port), "IDENTITY": "pod-1"}
    environment = {**os.environ, **{f"SLIPWAY_OPERATOR_{name}": value for name, value in variables.items()}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "slipway_operator",
        "run",
        env={**environment, "KUBECONFIG": str(kubeconfig)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    yield Operator(process, port)
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_without_definitions_it_waits_alive_and_not_ready_and_ends_when_told_to(
    answers: FewAnswers, operator: Operator
) -> None:
    del answers.documents[definitions.OPENAPI]
    await until(lambda: any("openapi" in path for path in answers.paths), within=15)
    assert await operator.probe("/livez") == (200, "ok")
    assert (await operator.probe("/readyz"))[0] == 503
    operator.process.send_signal(signal.SIGTERM)
    code, lines = await operator.ended()
    assert code == 0
    assert "The cluster doesn't know SchemaMigration" in lines[1]["message"]
    assert lines[-1]["message"] == "Stopped."


async def test_it_is_ready_once_a_watch_told_of_its_lease_and_ends_well(
    answers: FewAnswers, operator: Operator
) -> None:
    async def ready() -> bool:
        return (await operator.probe("/readyz"))[0] == 200

    await until(ready, within=15)
    watched = "".join(path for path in answers.paths if "watch=true" in path)
    assert "jobs?watch=true&allowWatchBookmarks=true&labelSelector=app.kubernetes.io/managed-by%3D" in watched
    assert "fieldSelector=metadata.name%3Dslipway-operator" in watched
    # Nothing beyond its namespace, and no right to namespaces or definitions is asked for.
    allowed = ("/api", "/apis", "/openapi/v3/apis/slipway.dev/v1alpha1", *SERVED)
    beyond = [path.split()[1] for path in answers.paths if "/namespaces/shop/" not in path]
    assert [path for path in beyond if path not in allowed] == []
    operator.process.send_signal(signal.SIGTERM)
    code, lines = await operator.ended()
    said = [line["message"] for line in lines]
    assert (code, said[-1]) == (0, "Stopped.")
    assert said[0] == f"Ops port {operator.url.rpartition(':')[2]} is open; serving shop."
    assert "Stopping: looks that are under way have 20 s to end." in said


async def test_while_another_holds_the_lease_it_is_ready_and_neither_watches_nor_writes(
    answers: FewAnswers, operator: Operator
) -> None:
    spec = {"holderIdentity": "slipway-operator-x_1", "leaseDurationSeconds": 15, "leaseTransitions": 3}
    metadata = {"name": "slipway-operator", "namespace": "shop", "resourceVersion": "1"}
    answers.lease = {"metadata": metadata, "spec": spec}

    async def ready() -> bool:
        return (await operator.probe("/readyz"))[0] == 200

    await until(ready, within=15)
    assert await operator.probe("/livez") == (200, "ok")
    assert [path for path in answers.paths if not path.startswith("GET") or "watch" in path] == []
    answers.lease = {"metadata": metadata, "spec": {**spec, "holderIdentity": ""}}
    await until(lambda: any("watch=true" in path for path in answers.paths), within=15)
    operator.process.send_signal(signal.SIGTERM)
    code, lines = await operator.ended()
    assert code == 0
    waited = [line["message"] for line in lines if "waits for the Lease" in line["message"]]
    assert waited == ["The operator waits for the Lease slipway-operator in shop, which slipway-operator-x_1 holds."]
    assert (answers.lease["spec"]["holderIdentity"], answers.lease["spec"]["leaseTransitions"]) == ("", 4)


async def test_a_lease_that_another_takes_ends_the_process_with_a_failure_and_stays_that_one_s(
    answers: FewAnswers, operator: Operator
) -> None:
    await until(lambda: any("watch=true" in path for path in answers.paths), within=15)
    assert answers.lease is not None
    taken = {**answers.lease, "spec": {**answers.lease["spec"], "holderIdentity": "former-release"}}
    answers.takes(taken)
    code, lines = await operator.ended()
    assert code == 1
    (last,) = [line for line in lines if line["message"] == "The operator ends."]
    assert "has been taken by former-release" in last["exception"]
    # Nothing may be changed without it, so nothing is waited for.
    assert "Stopping: looks that are under way have 0 s to end." in [line["message"] for line in lines]
    assert answers.lease == taken


async def test_a_watch_that_dies_ends_the_process_with_a_failure(answers: FewAnswers, operator: Operator) -> None:
    await until(lambda: any("watch=true" in path for path in answers.paths), within=15)
    answers.watches_fail.set()
    code, lines = await operator.ended()
    assert code == 1
    (last,) = [line for line in lines if line["message"] == "The operator ends."]
    assert "watches ended by itself" in last["exception"]


async def test_a_wrong_setting_ends_it_with_a_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "slipway_operator",
        "run",
        env={**os.environ, "SLIPWAY_OPERATOR_OPS_PORT": "many"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 1
    assert said.decode() == "Error: SLIPWAY_OPERATOR_OPS_PORT is 'many'; set a port between 1 and 65535.\n"
