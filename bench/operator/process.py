"""The operator as a process of its own, what its metrics tell, and a namespace for it to work in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from cluster.model import RESTRICTED, Cluster
from servers.waiting import free_port

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
HOUR = 3600.0
STOP_SECONDS = 30.0

Samples = dict[str, float]


def tell(text: str) -> None:
    """Progress goes to standard error, so that standard output is the table."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Operator:
    process: asyncio.subprocess.Process
    url: str

    async def samples(self) -> Samples:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            text = await response.text()
        families = text_string_to_metric_families(text)
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    async def at_rest(self) -> bool:
        """Whether nothing waits to be looked at."""
        samples = await self.samples()
        return not any(samples[f"slipway_operator_queue {state}"] for state in ("now", "running"))

    def peak_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@asynccontextmanager
async def running(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    """The operator in a process of its own; it must end well."""
    port = free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PYTHONPATH": str(ROOT),
        "SLIPWAY_OPERATOR_NAMESPACES": namespace,
        "SLIPWAY_OPERATOR_OPS_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.operator.served", env=environment, cwd=ROOT, stdout=sys.stderr
    )
    try:
        yield Operator(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        ended = await asyncio.wait_for(process.wait(), STOP_SECONDS)
    if ended:
        raise RuntimeError(f"The operator ended with {ended}.")


async def idle_calls(operator: Operator, seconds: float) -> tuple[dict[str, float], float]:
    """Calls to the API server by method, extrapolated to an hour, and the resident memory in MiB after it."""
    before = await operator.samples()
    await asyncio.sleep(seconds)
    after = await operator.samples()
    name = "benchmark_api_calls_total "
    calls = {
        key.removeprefix(name): (value - before.get(key, 0.0)) * HOUR / seconds
        for key, value in after.items()
        if key.startswith(name)
    }
    return calls, after["process_resident_memory_bytes"] / MIB


@contextmanager
def place(cluster: Cluster) -> Iterator[str]:
    """A namespace that is told to go, and not waited for: with so much in it that takes minutes."""
    name = f"benchmark-{uuid4().hex[:6]}"
    metadata = {"name": name, "labels": RESTRICTED}
    cluster.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    try:
        yield name
    finally:
        cluster.kubectl.run("delete", "namespace", name, "--wait=false")
