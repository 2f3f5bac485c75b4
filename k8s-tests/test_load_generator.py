"""The load generator counts what breaks: a lying one would prove anything. No cluster is needed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from load import faulty, generator
from load.faulty import FaultySlipway
from load.harness import Outcome
from load.looking import seen
from load.requests import Request
from load.watch import replicas_watched
from servers.databases import APP, create_database, create_roles
from servers.postgres import PostgresServer
from servers.slipway import SlipwayProcess
from servers.waiting import until
from slipway.migrations.runner import upgrade
from slipway.settings import Settings

PASSWORD = "a password for tests"


@dataclass(frozen=True)
class Run:
    code: int
    output: str

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return report

    @property
    def failed(self) -> int:
        return int(self.report["failed"])

    @property
    def errors(self) -> str:
        return " ".join(failure["error"] for failure in self.report["failures"])


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    (tmp_path / "email").write_text(faulty.EMAIL)
    (tmp_path / "password").write_text(PASSWORD)
    return tmp_path


@asynccontextmanager
async def started(target: str, credentials: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "load.generator", "--target", target, "--credentials", str(credentials)),
        *("--sign-in-every", "0", "--rate", "200", *options),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end(process: asyncio.subprocess.Process) -> Run:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Run(process.returncode, output.decode())


async def load(slipway: FaultySlipway, credentials: Path, *options: str, patience: str = "10") -> Run:
    limits = ("--count", "150", "--timeout", patience)
    async with slipway.listening() as address, started(address, credentials, *limits, *options) as process:
        return await end(process)


async def test_nothing_failed_when_nothing_breaks(credentials: Path) -> None:
    slipway = FaultySlipway()
    run = await load(slipway, credentials)
    assert run.code == 0, run.output
    assert run.failed == 0
    assert "requests 151 failed 0" in run.output  # the list was read once at the end
    assert run.report["writes_acknowledged"] == len(slipway.items) > 20
    assert sum(request.of_the_load for request in slipway.seen) == 150
    assert PASSWORD not in run.output


@pytest.mark.parametrize(
    ("fault", "where", "named"),
    [
        (faulty.answers(500), "", "status 500 instead of 20"),
        (faulty.answers(429), "", "status 429 instead of 20"),
        (faulty.answers(503), "", "status 503 instead of 20"),
        (faulty.answers(204), "", "status 204 instead of 20"),
        (faulty.resets, "", "connection lost"),
        (faulty.closes, "", "closed without a whole reply"),
        (faulty.answers_half, "", "closed without a whole reply"),
        (faulty.answers_garbage, "", "no HTTP"),
        (faulty.answers_no_json, "/me", "no JSON"),
        (faulty.stalls, "", "no reply within 2 s"),
        (faulty.answers_of_somebody_else, "/me", "another user"),
        (faulty.answers_of_somebody_else, "/items", "body not as written"),
    ],
)
async def test_each_broken_request_is_counted_once_on_new_and_kept_alive_connections(
    credentials: Path, fault: faulty.Fault, where: str, named: str
) -> None:
    async def check(new_share: str) -> None:
        slipway = FaultySlipway(fault, where=where)
        run = await load(slipway, credentials, "--new-share", new_share, patience="2" if "within" in named else "10")
        assert slipway.faults >= 2
        assert run.failed == slipway.faults, run.output
        assert named in run.errors
        assert run.code == 1

    await asyncio.gather(check("0"), check("1"))


@pytest.mark.parametrize("missing", ["items", "title"])
async def test_a_list_of_another_shape_is_counted_as_failed(credentials: Path, missing: str) -> None:
    older = {"id": "0", "title": "older", "body": "of somebody"}
    slipway = FaultySlipway(faulty.answers_without(missing), every=3, where="/items", method="GET", items=[older])
    run = await load(slipway, credentials)
    assert run.failed == slipway.faults >= 2, run.output
    assert f"not of the expected shape: KeyError '{missing}'" in run.errors
    assert run.code == 1


async def test_a_token_without_its_refresh_token_is_counted_as_failed(credentials: Path) -> None:
    slipway = FaultySlipway(faulty.answers_without("refresh_token"), every=3, signing_in=True)
    run = await load(slipway, credentials, "--sign-in-every", "0.05")
    assert run.failed == slipway.faults >= 3, run.output
    assert "not of the expected shape: KeyError" in run.errors


@pytest.mark.parametrize("broken", ["_check_me", "_refresh"])
async def test_a_fault_of_the_generator_itself_ends_it_without_a_report(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], broken: str
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(generator.Load, broken, breaks)
    async with FaultySlipway(lifetime=1).listening() as address:
        options = ["--target", address, "--credentials", str(credentials), "--count", "40"]
        with pytest.raises(RuntimeError, match="on purpose"):
            await generator.Load(generator.read_plan(options)).run()
    assert "latency_ms" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("fault", "named"),
    [(faulty.forgets_the_write, "acknowledged but not there"), (faulty.writes_twice, "there 2 times")],
)
async def test_lost_and_doubled_writes_are_found_at_the_end(credentials: Path, fault: faulty.Fault, named: str) -> None:
    slipway = FaultySlipway(fault, method="POST")
    run = await load(slipway, credentials)
    assert slipway.faults >= 2
    assert run.report["by_kind"]["verify"]["failed"] == slipway.faults, run.output
    assert named in run.errors
    assert run.code == 1


async def test_a_service_that_is_not_there_fails_each_request(credentials: Path) -> None:
    async with AsyncExitStack() as service:
        address = await service.enter_async_context(FaultySlipway().listening())
        async with started(address, credentials, "--new-share", "1", "--seconds", "1") as process:
            assert process.stdout is not None
            assert (await process.stdout.readline()).startswith(b"loading")
            await service.aclose()
            run = await end(process)
    assert run.failed > 50
    assert "no connection" in run.errors


def report(**others: Any) -> dict[str, Any]:
    fine = {"requests": 310, "sent": 300, "failed": 0, "retried": 0, "rate": 30.0, "seconds": 10.0, "failures": []}
    return {**fine, "latency_ms": {"p50": 5.0, "p99": 80.0, "max": 900.0}, **others}


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"failed": 1, "failures": [{"error": "no JSON"}]}, "1 failed:\n.*no JSON"),
        ({"sent": 269}, "269 requests were sent of 300"),
        ({"sent": 0, "seconds": 0.0}, "0 requests were sent"),
        ({"latency_ms": {"p50": 5.0, "p99": 10_000.0, "max": 19_000.0}}, "one in a hundred took 10000 ms"),
    ],
)
def test_only_a_load_that_ran_at_its_rate_without_failures_and_pauses_shows_something(
    others: dict[str, Any], named: str
) -> None:
    assert Outcome(report()).complaints() == []
    (complaint,) = Outcome(report(**others)).complaints()
    assert re.match(named, complaint)


def test_lost_connections_are_told_from_other_failures() -> None:
    lost: list[dict[str, str]] = [{"error": "connection lost: reset"}, {"error": "no connection: refused"}]
    assert Outcome(report(failures=[*lost, {"error": "status 503 instead of 200"}])).lost_connections() == 2
    assert Outcome(report(failures=[{"error": "no reply within 25 s"}])).lost_connections() == 0


async def test_a_generator_that_is_too_slow_for_its_rate_says_so(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def slow(load: generator.Load, due: float) -> Request:
        time.sleep(0.05)
        return following(load, due)

    following = generator.Load._next  # noqa: SLF001 - slowed down, and otherwise itself
    monkeypatch.setattr(generator.Load, "_next", slow)
    async with FaultySlipway().listening() as address:
        options = ["--target", address, "--credentials", str(credentials), "--rate", "200", "--count", "40"]
        await generator.Load(generator.read_plan(options)).run()
    outcome = Outcome(Run(0, capfd.readouterr().out).report)
    assert outcome.sent == 40
    assert outcome.report["unsent"] > 200
    assert "were sent of" in "".join(outcome.complaints())


def watching(folder: Path, script: str) -> Kubectl:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\necho 2,2\n{script}\n")
    program.chmod(0o755)
    return Kubectl(program, folder / "kubeconfig")


def test_a_watch_that_ended_early_has_not_seen_everything(tmp_path: Path) -> None:
    def ended() -> bool:
        return Path(f"/proc/{pid.read_text().strip()}/stat").read_text().split()[2] == "Z"

    pid = tmp_path / "pid"
    kubectl = watching(tmp_path, f"echo $$ > {pid}; exit 1")
    with pytest.raises(ClusterError, match="ended early"), replicas_watched(kubectl, "any") as replicas:
        seen(lambda: pid.exists() and ended(), 10, "the end of the watch")
    assert replicas.wanted == replicas.ready == [2]


def test_a_watch_that_goes_on_to_the_end_has(tmp_path: Path) -> None:
    with replicas_watched(watching(tmp_path, "exec sleep 60"), "any") as replicas:
        pass
    assert replicas.wanted == replicas.ready == [2]


async def test_requests_start_by_the_clock_while_others_wait(credentials: Path) -> None:
    slipway = FaultySlipway(delay=0.4)
    run = await load(slipway, credentials)
    arrivals = [request.at for request in slipway.seen if request.of_the_load]
    assert run.failed == 0, run.output
    assert arrivals[-1] - arrivals[0] < 10  # one after the other they would take a minute
    assert run.report["latency_ms"]["p50"] >= 400


async def test_more_under_way_than_allowed_is_a_failure_and_not_silence(credentials: Path) -> None:
    slipway = FaultySlipway(delay=0.4)
    run = await load(slipway, credentials, "--max-in-flight", "10")
    arrived = sum(request.of_the_load for request in slipway.seen)
    assert arrived < 100
    assert run.failed == 150 - arrived
    assert "10 requests were under way already" in run.errors


async def test_connection_close_is_honoured(credentials: Path) -> None:
    slipway = FaultySlipway(closing=True)
    run = await load(slipway, credentials, "--new-share", "0")
    assert run.failed == 0, run.output
    assert max(Counter(request.connection for request in slipway.seen).values()) == 1


async def test_as_many_connections_are_kept_alive_as_the_pool_is_asked_to_have(credentials: Path) -> None:
    runs = [load(FaultySlipway(), credentials, "--new-share", "0", "--pool", str(size)) for size in (3, 30)]
    few, many = [run.report["connections"]["opened"] for run in await asyncio.gather(*runs)]
    assert few < 20
    assert many >= 30


async def test_a_connection_closed_while_idle_is_replaced_and_is_no_failure(credentials: Path) -> None:
    slipway = FaultySlipway(faulty.closes_after_its_reply)
    run = await load(slipway, credentials, "--new-share", "0")
    assert run.failed == 0, run.output
    assert run.report["connections"]["found_closed"] >= slipway.faults - 5 > 5


@pytest.mark.parametrize("fault", [faulty.resets, faulty.closes, faulty.acts_then_closes, faulty.answers_half])
async def test_idempotent_requests_are_repeated_only_when_asked_and_counted_apart(
    credentials: Path, fault: faulty.Fault
) -> None:
    slipway = FaultySlipway(fault)
    run, without = await asyncio.gather(
        load(slipway, credentials, "--retry-idempotent"), load(FaultySlipway(fault), credentials)
    )
    assert run.failed == 0, run.output
    assert run.report["retried"] == slipway.faults >= 10
    assert run.report["writes_acknowledged"] == len(slipway.items)
    assert without.failed >= 10
    assert without.report["retried"] == 0


async def test_what_is_answered_wrongly_is_never_repeated(credentials: Path) -> None:
    slipway = FaultySlipway(faulty.answers(503))
    run = await load(slipway, credentials, "--retry-idempotent")
    assert run.failed == slipway.faults >= 10
    assert run.report["retried"] == 0


async def test_sign_ins_are_part_of_the_load_and_never_repeated(credentials: Path) -> None:
    slipway = FaultySlipway(faulty.closes, every=3, signing_in=True)
    run = await load(slipway, credentials, "--retry-idempotent", "--sign-in-every", "0.05")
    assert run.report["by_kind"]["sign_in"]["requests"] >= 10
    assert run.report["by_kind"]["sign_in"]["failed"] == slipway.faults >= 3, run.output


async def test_exports_are_part_of_the_load_and_waited_for(credentials: Path) -> None:
    run = await load(FaultySlipway(), credentials, "--export-every", "0.1")
    assert run.failed == 0, run.output
    assert run.report["exports_acknowledged"] >= 5


async def test_an_export_that_is_never_made_is_a_failure(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "EXPORTS_WITHIN", 0.5)
    async with FaultySlipway(lazy=True).listening() as address:
        options = ["--target", address, "--credentials", str(credentials), "--count", "50", "--export-every", "0.2"]
        code = await generator.Load(generator.read_plan(options)).run()
    run = Run(code, capfd.readouterr().out)
    assert run.code == 1
    assert run.failed == run.report["exports_acknowledged"] >= 2
    assert "still queued" in run.errors


async def test_the_token_is_renewed_before_it_ends(credentials: Path) -> None:
    slipway = FaultySlipway(lifetime=1)
    run = await load(slipway, credentials, "--rate", "100")
    assert run.failed == 0, run.output
    assert any(request.path.endswith("/auth/refresh") for request in slipway.seen)


async def test_sigterm_ends_it_with_a_whole_report(credentials: Path) -> None:
    slipway = FaultySlipway()
    async with slipway.listening() as address, started(address, credentials, "--seconds", "60") as process:
        await until(lambda: len(slipway.seen) > 30, within=10)
        process.send_signal(signal.SIGTERM)
        run = await end(process)
    assert run.code == 0, run.output
    assert run.report["requests"] == len(slipway.seen) - 1  # less the sign-in before the load
    assert run.report["seconds"] < 10


async def test_a_real_slipway_fails_nothing_until_it_is_killed(credentials: Path, tmp_path: Path) -> None:
    server = PostgresServer()
    server.start()
    try:
        await create_roles(server)
        database = await create_database(server)
        await upgrade(Settings(database_url=database.url_owner, database_grant_to=APP))  # type: ignore[arg-type]
        settings = {
            "SLIPWAY_DATABASE_URL": database.url_app,
            "SLIPWAY_ADMIN_CREDENTIALS_DIR": str(credentials),
            "SLIPWAY_RATE_LIMIT": "1000000",
            "SLIPWAY_PASSWORD_MEMORY": "8388608",
        }
        slipway = SlipwayProcess("serve", tmp_path, settings)
        slipway.start()
        try:
            calm = ("--rate", "20", "--count", "50", "--sign-in-every", "1")
            async with started(slipway.base, credentials, *calm) as process:
                fine = await end(process)
            async with started(slipway.base, credentials, "--rate", "50", "--seconds", "2") as process:
                assert process.stdout is not None
                assert (await process.stdout.readline()).startswith(b"loading")
                slipway.kill()
                broken = await end(process)
        finally:
            slipway.kill()
    finally:
        server.remove()
    assert fine.failed == 0, fine.output
    assert fine.report["by_kind"]["sign_in"]["requests"] >= 3
    assert broken.failed > 25
