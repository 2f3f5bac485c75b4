"""What compose.yaml starts: migration, API and worker by its commands and settings, Prometheus by its files."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from servers.compose import composed, environment, mounts
from servers.databases import TestDatabase
from servers.redis import RedisServer
from servers.slipway import SlipwayProcess
from servers.waiting import free_port, until

PASSWORD = "slipway-demo"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer("--requirepass", PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def processes(empty_database: TestDatabase, redis: RedisServer, tmp_path: Path) -> Iterator[dict[str, SlipwayProcess]]:
    """The services of ours, not started yet, on a database without a schema; only addresses and logins are others."""
    address = "postgresql:5432/slipway"
    replaced = {
        f"postgresql://slipway:{PASSWORD}@{address}": empty_database.url_owner,
        f"postgresql://slipway_app:{PASSWORD}@{address}": empty_database.url_app,
        "redis:6379": f"127.0.0.1:{redis.port}",
        "0.0.0.0": "127.0.0.1",  # noqa: S104 - away with it
    }
    services, processes = composed()["services"], {}
    for name in ("migrate", "api", "worker"):
        folder = tmp_path / name
        folder.mkdir()
        program, *words = services[name]["command"]
        assert program == "slipway"
        settings = environment(services[name], replaced, folder)
        processes[name] = SlipwayProcess(" ".join(words), folder, settings)
    yield processes
    for process in processes.values():
        process.kill()


@pytest.fixture
def prometheus(processes: dict[str, SlipwayProcess], tmp_path: Path) -> Iterator[str]:
    """Debian's Prometheus with the files that compose.yaml mounts; only addresses and the pace are others."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: install Debian's package prometheus"
    port, folder = free_port(), tmp_path / "prometheus"
    folder.mkdir()
    for target, source in mounts(composed()["services"]["prometheus"]).items():
        text = re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 200ms", source.read_text("utf-8"))
        for name, process in processes.items():
            text = text.replace(f"{name}:9090", f"127.0.0.1:{process.ops_port}")
        (folder / Path(target).name).write_text(text, "utf-8")
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [program, *arguments, f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield f"http://127.0.0.1:{port}/api/v1"
    running.kill()
    running.wait(10)


@pytest.fixture
def started(processes: dict[str, SlipwayProcess], prometheus: str) -> dict[str, SlipwayProcess]:
    """In their order. Prometheus has waited: it takes five seconds to its first targets."""
    assert prometheus
    processes["migrate"].spawn()
    assert processes["migrate"].wait() == 0, processes["migrate"].output
    for name in ("api", "worker"):
        processes[name].spawn()
    for name in ("api", "worker"):
        processes[name].wait_ready()
    return processes


async def asked(api: str, path: str) -> Any:
    """The data of an answer; nothing while nobody listens."""
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            reply = await client.get(f"{api}{path}")
    except httpx.TransportError:
        return {}
    return reply.json().get("data") or {}


async def test_its_commands_and_settings_make_a_service_that_somebody_can_sign_in_to_and_prometheus_watches(
    started: dict[str, SlipwayProcess], prometheus: str
) -> None:
    login = {"username": "admin@example.com", "password": PASSWORD}
    reply = httpx.post(f"{started['api'].base}/api/v1/auth/token", data=login, timeout=10)
    assert reply.status_code == 200, reply.text
    degraded = httpx.get(f"{started['api'].ops}/metrics").text
    assert 'slipway_degraded{dependency="redis"} 0.0' in degraded

    async def scraped() -> bool:
        targets = (await asked(prometheus, "/targets")).get("activeTargets", [])
        return len(targets) == 2 and all(target["health"] == "up" for target in targets)

    await until(scraped)
    up = (await asked(prometheus, '/query?query=up{namespace="compose"}'))["result"]
    assert {series["metric"]["service"] for series in up} == {"slipway-metrics", "slipway-worker-metrics"}

    async def evaluated() -> bool:
        groups = (await asked(prometheus, "/rules"))["groups"]
        rules = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        return {"SlipwayDown", "SlipwayWorkerDown"} <= set(rules) and set(rules.values()) == {"ok"}

    await until(evaluated)
    # By this the dashboards find the targets.
    (known,) = (await asked(prometheus, "/query?query=slipway:release:info"))["result"]
    assert {known["metric"]["api"], known["metric"]["worker"]} == {"slipway-metrics", "slipway-worker-metrics"}
