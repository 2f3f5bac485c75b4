"""On networks of IPv4 alone, of IPv6 alone and of both, every program of the chart is reached as its pod starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from charts.render import CHART, DEMO, Renderer
from cluster.waiting import until

FOUR, SIX = "127.0.0.1", "::1"
NETWORKS = {
    "IPv4": (["echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"], [FOUR]),
    "IPv6": ([f"ip address del {FOUR}/8 dev lo"], [SIX]),
    "both": ([], [FOUR, SIX]),
}
"""What makes of a fresh network such a one, and the addresses that it has."""

NOWHERE = "postgresql://a:b@127.0.0.1:1/none"
OPS, REDIS = 9090, 6379
ASK = """
import socket, sys
asking = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
asking.sendall(sys.argv[3].encode())
sys.stdout.write(asking.recv(99).decode())
"""
OPERATOR = """
import asyncio, os
from slipway_operator import ops
from slipway_operator.settings import Settings

async def main():
    settings = Settings.from_environment(os.environ)
    async with ops.served(ops.Health(), settings.ops_host, settings.ops_port):
        await asyncio.Event().wait()

asyncio.run(main())
"""
LIVEZ = "GET /livez HTTP/1.1\r\nHost: pod\r\n\r\n"


@dataclass(frozen=True)
class Network:
    """A network namespace, by a process that keeps it."""

    pid: int
    addresses: list[str]

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def ask(self, address: str, port: int, text: str) -> str:
        """What answers there; nothing where nobody does."""
        asking = self.inside(sys.executable, "-c", ASK, address, str(port), text)
        return subprocess.run(asking, capture_output=True, text=True, check=False, timeout=10).stdout


@pytest.fixture(params=list(NETWORKS), scope="module")
def network(request: pytest.FixtureRequest, own_cluster: None) -> Iterator[Network]:  # noqa: ARG001 - what a cluster takes
    steps, addresses = NETWORKS[request.param]
    script = " && ".join(["ip link set lo up", *steps, "echo made", "exec cat"])
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"made\n"
        yield Network(keeper.pid, addresses)
        keeper.terminate()


@contextmanager
def running(network: Network, *command: str, **environment: str) -> Iterator[None]:
    with subprocess.Popen(
        network.inside(*command), env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def hosts(renderer: Renderer, deployment: str) -> dict[str, str]:
    """Where the chart has the program of a pod listen."""
    (container,) = renderer.objects(DEMO).one("Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if entry["name"].endswith("HOST")}


@pytest.mark.parametrize(("command", "ports"), [("serve", [8000, OPS]), ("worker", [OPS])])
def test_the_service_is_reached_by_every_address_that_there_is(
    renderer: Renderer, network: Network, tmp_path: Path, command: str, ports: list[int]
) -> None:
    told = hosts(renderer, "slipway" if command == "serve" else "slipway-worker")
    program = str(Path(sys.executable).with_name("slipway"))
    with running(network, program, command, HOME=str(tmp_path), SLIPWAY_DATABASE_URL=NOWHERE, **told):
        for address in network.addresses:
            for port in ports:
                until(lambda at=address, port=port: network.ask(at, port, LIVEZ).startswith("HTTP/1.1"), 20)


def test_the_operator_is_reached_by_every_address_that_there_is(renderer: Renderer, network: Network) -> None:
    with running(network, sys.executable, "-c", OPERATOR, **hosts(renderer, "slipway-operator")):
        for address in network.addresses:
            until(lambda at=address: network.ask(at, OPS, LIVEZ).startswith("HTTP/1.1 200"), 20)


def test_the_demos_redis_is_reached_by_every_address_that_there_is(network: Network) -> None:
    with running(network, "redis-server", str(CHART / "files" / "demo" / "redis.conf")):
        for address in network.addresses:
            until(lambda at=address: network.ask(at, REDIS, "PING\r\n").startswith("-NOAUTH"), 20)


def test_an_address_of_the_family_that_is_missing_reaches_nobody(network: Network) -> None:
    (missing,) = {FOUR, SIX} - set(network.addresses) or {"192.0.2.1"}
    told = {"SLIPWAY_OPERATOR_OPS_HOST": "*"}
    with running(network, sys.executable, "-c", OPERATOR, **told):
        (address, *_) = network.addresses
        until(lambda: network.ask(address, OPS, LIVEZ).startswith("HTTP/1.1 200"), 20)
        assert network.ask(missing, OPS, LIVEZ) == ""
