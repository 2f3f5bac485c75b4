"""`slipway run` as a person meets it: a terminal, a login, a curl, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
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
    killed = Event()

    def write(key: str) -> None:
        try:
            reply = client.post(
                "/api/v1/items", json={"title": key}, headers={**headers, "Idempotency-Key": key}, timeout=10
            )
        except httpx.TransportError:
            return
        if reply.status_code == 201:
            acknowledged[key] = reply.json()["id"]
        if len(acknowledged) >= 60 and not killed.is_set():
            killed.set()
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


async def test_addresses_are_those_of_the_port_that_it_runs_on(slipway: SlipwayProcess) -> None:
    slipway.start()
    email, _ = await _first_login(slipway)
    found = httpx.get(f"{slipway.base}/.well-known/openid-configuration").json()
    assert found["issuer"] == slipway.base
    assert found["jwks_uri"].startswith(slipway.base)
    httpx.post(f"{slipway.base}/api/v1/auth/password-reset", json={"email": email})
    await until(lambda: f"{slipway.base}/docs?token=" in slipway.output, within=20)
    (link,) = re.findall(r"http://\S+/docs\?token=\S+", slipway.output)
    assert httpx.get(link).status_code == 200


async def test_documentation_is_only_named_where_it_is_on(tmp_path: Path) -> None:
    slipway = SlipwayProcess("run", tmp_path, {"SLIPWAY_DEBUG": "false"})
    try:
        slipway.start()
        await _first_login(slipway)
        assert "/docs" not in slipway.output
        assert httpx.get(f"{slipway.base}/docs").status_code == 404
    finally:
        slipway.signal(signal.SIGINT)
        slipway.wait()


def _beside(slipway: SlipwayProcess, *command: str, url: str | None = None, text: str = "") -> tuple[int, str]:
    """Another command in the same data folder, with no settings but that one."""
    environment = {"PATH": os.environ["PATH"], "SLIPWAY_DATA_DIR": slipway.settings["SLIPWAY_DATA_DIR"]}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "slipway"), *command],
        env={**environment, **({"SLIPWAY_DATABASE_URL": url} if url else {})},
        input=text,
        cwd=slipway.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


async def test_other_commands_find_the_database_of_a_run_and_say_so_when_there_is_none(
    slipway: SlipwayProcess,
) -> None:
    slipway.start()
    await _first_login(slipway)
    files = sorted(Path(slipway.settings["SLIPWAY_DATA_DIR"]).glob("*.url"))
    assert [(file.name, file.stat().st_mode & 0o777) for file in files] == [
        ("database-owner.url", 0o600),
        ("database.url", 0o600),
    ]
    assert _beside(slipway, "jobs", "list")[0] == 0
    assert "gate     open" in _beside(slipway, "db", "current")[1]
    made = ["admin", "create", "--password-file", "-", "--email"]
    assert _beside(slipway, *made, "ada@example.com", text="a long enough password") == (
        0,
        "ada@example.com is an administrator now.\n",
    )
    code, said = _beside(slipway, "db", "stamp", "head")
    assert (code, "permission denied" in said or "owner" in said) == (1, True), said
    assert _beside(slipway, "db", "stamp", "head", url=files[0].read_text().strip())[0] == 0
    slipway.signal(signal.SIGINT)
    slipway.wait()
    code, said = _beside(slipway, "jobs", "list")
    assert code == 1
    assert "start `slipway run`" in said


async def test_an_administrator_needs_an_address_and_a_database_in_one_line(slipway: SlipwayProcess) -> None:
    slipway.start()
    await _first_login(slipway)
    made = ["admin", "create", "--password-file", "-", "--email"]
    for email in ("no address", f"{'x' * 60}@{'y' * 60}.{'z' * 60}.{'w' * 60}.{'v' * 60}.example"):
        code, said = _beside(slipway, *made, email, text="a long enough password")
        assert code == 1
        assert said.startswith("Error: This is no usable e-mail address"), said
        assert said.count("\n") == 1
    socket_folder = (Path(slipway.settings["SLIPWAY_DATA_DIR"]) / "database.url").read_text().partition("host=")[2]
    for url, reason in (
        (f"postgresql://nobody@/slipway?host={socket_folder.strip()}", 'role "nobody" does not exist'),
        ("postgresql://slipway:very-hidden@127.0.0.1:1/slipway", "refused"),
    ):
        code, said = _beside(slipway, *made, "eva@example.com", url=url, text="a long enough password")
        assert code == 1
        assert reason.lower() in said.lower()
        assert said.count("\n") == 1, said
        assert "hidden" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN], ids=["shell", "background job"])
async def test_a_signal_while_the_database_starts_leaves_no_server(
    slipway: SlipwayProcess, number: signal.Signals, interrupts: signal.Handlers
) -> None:
    postmaster = Path(slipway.settings["SLIPWAY_DATA_DIR"]) / "postgres" / "postmaster.pid"
    ours = signal.signal(signal.SIGINT, interrupts)  # a process inherits what is ignored, as from a shell
    slipway.spawn()
    signal.signal(signal.SIGINT, ours)
    await until(postmaster.exists, within=30)
    slipway.signal(number)
    assert slipway.wait() == 0, slipway.output
    assert "Traceback" not in slipway.output
    assert "Aborted" not in slipway.output
    assert not postmaster.exists()
    # What was made so far is whole.
    slipway.start()


async def test_ctrl_c_ends_it_in_time_with_a_slow_client_and_sign_ins_under_way(slipway: SlipwayProcess) -> None:
    slipway.settings["SLIPWAY_PASSWORD_ITERATIONS"] = "6"  # so that a fast machine has a queue too
    slipway.start()
    slow = socket.create_connection(("127.0.0.1", slipway.port), timeout=10)
    slow.sendall(
        b"POST /api/v1/auth/token HTTP/1.1\r\nHost: slipway\r\nContent-Length: 100\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername="
    )

    def sign_in(number: int) -> int:
        # Somebody else each time, as for one account only a few are let through. It costs as much as a right one.
        form = {"username": f"{number}@example.com", "password": "a password for nobody"}
        with suppress(httpx.TransportError):
            return httpx.post(f"{slipway.base}/api/v1/auth/token", data=form, timeout=10).status_code
        return 0

    with slow, ThreadPoolExecutor(40) as threads:
        waiting = [threads.submit(sign_in, number) for number in range(40)]
        await until(lambda: any(one.done() for one in waiting), within=20)
        slipway.signal(signal.SIGINT)
        # Hashes that run are waited for, and have a low priority: on a busy machine they take seconds.
        assert slipway.wait(within=10) == 0, slipway.output
    assert [one.result() for one in waiting].count(401) < 30, "the queue was worked off first"
    # What is broken off is in the log as such; nothing else complains.
    assert all(line.startswith("{") for line in slipway.output.rpartition("Draining.")[2].splitlines()[1:])
    assert not list(Path(slipway.folder).rglob("postmaster.pid"))


async def test_after_a_kill_the_next_run_still_stops_its_database_when_it_ends(slipway: SlipwayProcess) -> None:
    slipway.start()
    slipway.kill()
    assert list(slipway.folder.rglob("postmaster.pid")), "the kill left the database running, as a crash does"
    slipway.start()
    slipway.signal(signal.SIGINT)
    assert slipway.wait() == 0
    assert not list(slipway.folder.rglob("postmaster.pid"))


async def test_a_second_run_in_the_same_folder_is_refused_and_the_first_goes_on(slipway: SlipwayProcess) -> None:
    slipway.start()
    second = SlipwayProcess("run", slipway.folder)
    second.spawn()
    assert second.wait() == 1
    assert "SLIPWAY_DATA_DIR" in second.output
    assert "Traceback" not in second.output
    assert httpx.get(f"{slipway.base}/health", timeout=5).status_code == 200
