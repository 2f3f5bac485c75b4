"""`slipway run` as a person meets it: a terminal, a login, a curl, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from servers.slipway import SlipwayProcess
from servers.waiting import until


@pytest.fixture
def slipway(tmp_path: Path) -> Iterator[SlipwayProcess]:
    process = SlipwayProcess("run", tmp_path)
    yield process
    if process.process is not None and process.process.poll() is None:
        process.signal(signal.SIGINT)
        process.wait()


async def _first_login(slipway: SlipwayProcess) -> tuple[str, str]:
    await until(lambda: "Ctrl-C ends it" in slipway.output, within=10)
    return slipway.first_login()


def _token(slipway: SlipwayProcess, email: str, password: str) -> str:
    reply = httpx.post(f"{slipway.base}/api/v1/auth/token", data={"username": email, "password": password}, timeout=10)
    assert reply.status_code == 200, reply.text
    token: str = reply.json()["access_token"]
    return token


async def test_the_printed_commands_work_when_pasted(slipway: SlipwayProcess) -> None:
    slipway.start()
    email, _ = await _first_login(slipway)
    commands = "\n".join(line.strip() for line in slipway.output.splitlines() if re.match(r"\s+(TOKEN=|curl )", line))
    pasted = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(pasted.stdout)["email"] == email


async def test_data_and_login_survive_a_restart_and_the_login_is_shown_once(slipway: SlipwayProcess) -> None:
    slipway.start()
    email, password = await _first_login(slipway)
    headers = {"Authorization": f"Bearer {_token(slipway, email, password)}"}
    made = httpx.post(f"{slipway.base}/api/v1/items", json={"title": "kept"}, headers=headers)
    slipway.signal(signal.SIGINT)
    assert slipway.wait() == 0
    slipway.start()
    await until(lambda: "Ctrl-C ends it" in slipway.output, within=10)
    assert password not in slipway.output
    assert "password" not in slipway.output
    # The token of before the restart still counts: keys survive too.
    assert httpx.get(slipway.base + made.headers["Location"], headers=headers).json()["title"] == "kept"


async def test_ctrl_c_ends_it_within_two_seconds(slipway: SlipwayProcess) -> None:
    slipway.start()
    email, password = await _first_login(slipway)
    with httpx.Client(base_url=slipway.base) as kept_alive:
        kept_alive.get("/api/v1/users/me", headers={"Authorization": f"Bearer {_token(slipway, email, password)}"})
        pressed = monotonic()
        slipway.signal(signal.SIGINT)
        assert slipway.wait() == 0
        assert monotonic() - pressed <= 2.0
    assert "Traceback" not in slipway.output
    assert not list(Path(slipway.folder).rglob("postmaster.pid"))


async def test_killed_in_the_middle_of_200_writes_it_loses_none_that_was_acknowledged_and_doubles_none(
    slipway: SlipwayProcess,
) -> None:
    slipway.start()
    email, password = await _first_login(slipway)
    headers = {"Authorization": f"Bearer {_token(slipway, email, password)}"}
    keys = [str(uuid4()) for _ in range(200)]
    acknowledged: dict[str, str] = {}

    def write(key: str) -> None:
        try:
            reply = client.post(
                "/api/v1/items", json={"title": key}, headers={**headers, "Idempotency-Key": key}, timeout=10
            )
        except httpx.TransportError:
            return
        if reply.status_code == 201:
            acknowledged[key] = reply.json()["id"]
        if len(acknowledged) == 60:
            slipway.signal(signal.SIGKILL)

    with httpx.Client(base_url=slipway.base) as client, ThreadPoolExecutor(8) as threads:
        list(threads.map(write, keys))
    slipway.wait()
    before = dict(acknowledged)
    assert 60 <= len(before) < 200, "the kill came too early or too late to show anything"

    slipway.start()
    with httpx.Client(base_url=slipway.base) as client, ThreadPoolExecutor(8) as threads:
        list(threads.map(write, keys))
        assert {key: acknowledged[key] for key in before} == before
        titles = _all_titles(client, headers)
    assert sorted(titles) == sorted(keys)


def _all_titles(client: httpx.Client, headers: dict[str, str]) -> list[str]:
    titles: list[str] = []
    cursor: str | None = None
    while True:
        params = {"per_page": "100", **({"cursor": cursor} if cursor else {})}
        page = client.get("/api/v1/items", params=params, headers=headers).json()
        titles += [item["title"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return titles


async def test_a_taken_port_is_said_with_the_setting_to_change(slipway: SlipwayProcess) -> None:
    slipway.start()
    second = SlipwayProcess("serve", slipway.folder, {"SLIPWAY_PORT": str(slipway.port)})
    second.settings["SLIPWAY_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    second.spawn()
    assert second.wait() == 1
    assert "SLIPWAY_PORT" in second.output
    assert "Traceback" not in second.output
