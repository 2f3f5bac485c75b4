from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from slipway_operator import ops, telemetry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time that telemetry and probes see, in a list of one."""
    now = [1000.0]
    for module in ("ops", "telemetry"):
        monkeypatch.setattr(f"slipway_operator.{module}.time", type("Clock", (), {"monotonic": lambda: now[0]}))
    return now


@pytest.fixture
def health() -> ops.Health:
    return ops.Health()


@pytest.fixture
async def url(health: ops.Health) -> AsyncIterator[str]:
    async with ops.served(health, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


async def ask(url: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        assert response.headers["Connection"] == "close"
        return response.status, (await response.text()).strip()


async def test_before_the_watches_start_it_lives_and_says_what_it_waits_for(url: str, health: ops.Health) -> None:
    assert await ask(url, "/livez") == (200, "ok")
    assert await ask(url, "/readyz") == (503, f"The operator waits for {health.waiting_for}.")


async def test_one_that_waits_for_its_turn_is_ready_so_that_no_rollout_waits_for_more(
    url: str, health: ops.Health
) -> None:
    health.waits("the Lease, which another holds", standing_by=True)
    assert await ask(url, "/readyz") == (200, "ok")
    health.waits("the Lease: no rights", standing_by=False)
    assert await ask(url, "/readyz") == (503, "The operator waits for the Lease: no rights.")


async def test_once_it_watches_it_is_ready_by_what_it_sees_though_it_stood_by_before(
    url: str, health: ops.Health
) -> None:
    health.waits("the Lease, which another holds", standing_by=True)
    health.watching()
    assert (await ask(url, "/readyz"))[0] == 503


async def test_it_is_ready_when_the_watches_told_of_the_lease(url: str, health: ops.Health) -> None:
    health.watching()
    assert await ask(url, "/readyz") == (503, "The watches have told nothing yet.")
    health.events.seen("Job")
    assert (await ask(url, "/readyz"))[0] == 503
    health.events.seen("Lease")
    assert await ask(url, "/readyz") == (200, "ok")


async def test_silent_watches_end_the_life_after_three_minutes(
    url: str, health: ops.Health, clock: list[float]
) -> None:
    health.watching()
    health.events.seen("Lease")
    clock[0] += 180
    assert await ask(url, "/livez") == (200, "ok")
    clock[0] += 1
    # Events of other kinds are no proof: they say nothing of the watches of the rest.
    health.events.seen("SchemaMigration")
    code, sentence = await ask(url, "/livez")
    assert (code, sentence.startswith("The watches have told nothing for 181 s")) == (503, True)
    assert (await ask(url, "/healthz"))[0] == (await ask(url, "/readyz"))[0] == 503
    health.events.seen("Lease")
    assert await ask(url, "/livez") == (200, "ok")


async def test_watches_that_never_told_anything_end_it_too(url: str, health: ops.Health, clock: list[float]) -> None:
    health.watching()
    clock[0] += 181
    assert (await ask(url, "/livez"))[0] == 503


async def test_while_it_stops_it_lives_and_is_not_ready(url: str, health: ops.Health, clock: list[float]) -> None:
    health.watching()
    health.events.seen("Lease")
    health.stopping = True
    clock[0] += 500
    assert await ask(url, "/livez") == (200, "ok")
    assert await ask(url, "/readyz") == (503, "The operator is stopping.")


async def test_metrics_tell_the_age_of_the_last_event_by_kind(url: str, health: ops.Health, clock: list[float]) -> None:
    health.events.seen("Lease")
    clock[0] += 42
    telemetry.JOBS.labels("plan", "created").inc(0)
    code, text = await ask(url, "/metrics")
    assert code == 200
    assert 'slipway_operator_last_event_age_seconds{kind="Lease"} 42.0' in text
    for name in (
        'slipway_operator_jobs_total{purpose="plan",result="created"}',
        "slipway_operator_definitions_outdated",
        "slipway_operator_queue_refused_total",
        "process_resident_memory_bytes",
    ):
        assert name in text


async def test_any_other_path_is_not_found(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + "/nothing") as response:
        assert response.status == 404


async def test_a_port_that_is_taken_is_an_error(url: str, health: ops.Health) -> None:
    with pytest.raises(OSError, match="in use"):
        async with ops.served(health, "127.0.0.1", int(url.rpartition(":")[2])):
            pass
