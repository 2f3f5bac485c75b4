"""How often, how long and how many: what changes while it goes on, held at its bounds by clocks and chance of ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from slipway.jobs import worker as worker_module
from slipway.jobs.cli import _age
from slipway.jobs.kinds import Job, Kind
from slipway.jobs.outcomes import Outcome
from slipway.jobs.worker import Pace, Worker
from slipway.migrations import batched as batched_module
from slipway.migrations import wait as wait_module
from slipway.migrations.batched import AIM, LONGEST_PAUSE, SHORTEST_PAUSE, _Backfill
from slipway.migrations.errors import MigrationError
from slipway.migrations.gate import GateVerdict
from slipway.migrations.progress import Progress, Waiting, Working
from slipway.migrations.wait import wait_for_schema
from slipway.settings import Settings
from slipway.storage.engine import Database

Chance = Callable[[float], None]
Backfill = Callable[..., list[Waiting | Working]]


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Chance:
    """Sets what chance gives, as a part of what it may give: 0 the least, 1 the most."""
    part = 0.0

    def give(wanted: float) -> None:
        nonlocal part
        part = wanted

    monkeypatch.setattr(random, "uniform", lambda least, most: least + (most - least) * part)
    monkeypatch.setattr(random, "random", lambda: part)
    return give


async def nothing(_: Job) -> None:
    return


def worker(*answers: object, running: int = 0, **pace: float) -> tuple[Worker, list[object]]:
    """A worker whose database gives these answers, one after another."""
    left = list(answers)

    async def ask(*_: object) -> object:
        return left.pop(0)

    database = cast("Database", SimpleNamespace(read=ask))
    made = Worker(Settings(worker_concurrency=4), database, {"greet": Kind(nothing)}, Pace(**pace))
    made._write = ask  # type: ignore[method-assign,assignment] # noqa: SLF001 - in place of a database
    made._start = lambda job: made._running.update({job.lease: cast("Any", job)})  # type: ignore[method-assign] # noqa: SLF001
    made._running = {cast("Any", number): cast("Any", None) for number in range(running)}  # noqa: SLF001
    return made, left


@pytest.mark.parametrize(
    ("due", "seconds"),
    [
        (None, 10.0),
        (timedelta(seconds=3), 3.0),
        (timedelta(seconds=30), 10.0),
        (timedelta(0), 0.05),
        (timedelta(seconds=-5), 0.05),
    ],
)
async def test_a_worker_without_work_looks_again_when_the_next_job_is_due_or_after_its_pace(
    chance: Chance, due: timedelta | None, seconds: float
) -> None:
    chance(0.5)
    one, left = worker([], due, look=10.0)
    assert await one._take() == pytest.approx(seconds)  # noqa: SLF001 - one look of many
    assert left == []


async def test_looks_of_many_workers_are_spread_by_a_fifth(chance: Chance) -> None:
    for part, seconds in ((0.0, 8.0), (1.0, 12.0)):
        chance(part)
        assert await worker([], None, look=10.0)[0]._take() == pytest.approx(seconds)  # noqa: SLF001


async def test_a_worker_with_all_hands_full_asks_for_no_job_and_one_that_fills_them_for_no_due_time(
    chance: Chance,
) -> None:
    chance(0.5)
    full, _ = worker(running=4, look=10.0)
    assert await full._take() == pytest.approx(10.0)  # noqa: SLF001
    job = cast("Job", SimpleNamespace(lease="one"))
    filling, left = worker([job], "not asked", running=3, look=10.0)
    assert await filling._take() == pytest.approx(10.0)  # noqa: SLF001
    assert left == ["not asked"]


async def test_a_jobs_end_is_tried_for_as_long_as_its_lease_may_last_and_not_beyond(
    chance: Chance, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance(1.0)
    one, _ = worker(lease=10.0)
    now, slept = 0.0, list[float]()

    async def away(*_: object, **__: object) -> None:
        raise TimeoutError

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    monkeypatch.setattr(worker_module, "monotonic", lambda: now)
    monkeypatch.setattr(worker_module.asyncio, "sleep", sleep)
    one._write = away  # type: ignore[method-assign,assignment] # noqa: SLF001 - in place of a database
    await one._settle(cast("Job", SimpleNamespace(id=1)), Outcome("done", None, None))  # noqa: SLF001
    assert slept == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])  # another of 5 s would end after its lease


async def test_leases_are_prolonged_together_when_the_oldest_is_a_third_over_and_those_of_short_jobs_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _ = worker(lease=30.0)
    now, asked = 0.0, list[tuple[float, list[str]]]()
    starts = {0.0: "long", 1.0: "short", 4.0: "longer", 22.0: "other", 39.5: "brief"}
    ends = {8.0: "short", 17.0: "long", 33.0: "longer", 38.0: "other", 41.0: "brief"}

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now >= 60:
            raise asyncio.CancelledError
        for at in sorted(at for at in {*starts, *ends} if at <= now):
            if lease := cast("Any", starts.pop(at, None)):
                one._working[lease] = at  # noqa: SLF001 - as `_start` does
            one._working.pop(cast("Any", ends.pop(at, None)), None)  # noqa: SLF001

    async def renew(leases: set[str]) -> None:
        asked.append((now, sorted(leases)))
        one._working.update(dict.fromkeys(cast("Any", leases), now))  # noqa: SLF001

    monkeypatch.setattr(worker_module, "monotonic", lambda: now)
    monkeypatch.setattr(worker_module.asyncio, "sleep", sleep)
    one._renew_once = renew  # type: ignore[method-assign,assignment] # noqa: SLF001 - in place of a database
    with pytest.raises(asyncio.CancelledError):
        await one._renew()  # noqa: SLF001
    assert asked == [(10.0, ["long", "longer"]), (20.0, ["longer"]), (30.0, ["longer", "other"])]


@pytest.mark.parametrize(("every", "latest"), [(10.0, 10.0), (60.0, 60.0), (3600.0, 60.0)])
async def test_a_periodic_job_begins_within_its_interval_and_within_a_minute(
    chance: Chance, monkeypatch: pytest.MonkeyPatch, every: float, latest: float
) -> None:
    firsts: list[float] = []

    async def ensure(_transaction: object, name: str, first: timedelta) -> bool:
        assert name == "purge"
        firsts.append(first.total_seconds())
        return True

    monkeypatch.setattr("slipway.jobs.queries.ensure", ensure)
    kinds = {"greet": Kind(nothing), "purge": Kind(nothing, every=every)}
    one = Worker(Settings(), cast("Database", None), kinds)
    for part in (0.0, 1.0):
        chance(part)
        await one._ensure_periodic(cast("Any", None))  # noqa: SLF001
    assert firsts == pytest.approx([0.0, latest])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (119, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"),
     (86400, "1d"), (8 * 86400, "8d")],
)  # fmt: skip
def test_an_age_is_shown_in_its_largest_unit(seconds: int, shown: str) -> None:
    assert _age(timedelta(seconds=seconds)) == shown


class Table:
    """Rows to be changed, each batch in a time of its own; a clock that only it moves."""

    def __init__(self, rows: int, takes: Callable[[int], float]) -> None:
        self.rows = rows
        self.takes = takes
        self.now = 0.0
        self.batches: list[int] = []
        self.pauses: list[float] = []

    def execute(self, _statement: object, parameters: dict[str, int]) -> Any:
        changed = min(parameters["batch"], self.rows)
        self.rows -= changed
        self.batches.append(parameters["batch"])
        self.now += self.takes(parameters["batch"])
        return SimpleNamespace(returns_rows=False, rowcount=changed)


@pytest.fixture
def backfill(monkeypatch: pytest.MonkeyPatch) -> Backfill:
    def run(table: Table, *, most: int, share: float = 0.5) -> list[Waiting | Working]:
        told: list[Waiting | Working] = []
        monkeypatch.setattr(batched_module, "monotonic", lambda: table.now)
        monkeypatch.setattr(_Backfill, "_sleep", lambda _self, seconds: table.pauses.append(seconds))
        filled = _Backfill(cast("Connection", table), "UPDATE x", most, share, Progress(print, told.append))
        rows = table.rows
        assert filled.run({}) == rows
        return told

    return run


def test_a_batch_is_halved_while_it_takes_too_long_and_never_less_than_a_row(
    backfill: Backfill,
) -> None:
    table = Table(18, lambda _: AIM + 0.001)
    backfill(table, most=8)
    assert table.batches[:5] == [8, 4, 2, 1, 1]
    assert set(table.batches[4:]) == {1}


def test_a_batch_grows_again_by_a_quarter_while_it_is_quick_and_never_beyond_what_was_asked(
    backfill: Backfill,
) -> None:
    times = iter([AIM + 0.001, AIM + 0.001, *[AIM / 2 - 0.001] * 40])
    table = Table(600, lambda _: next(times))
    backfill(table, most=64)
    assert table.batches[:6] == [64, 32, 16, 20, 25, 31]
    assert max(table.batches[2:]) == 64


def test_a_batch_within_its_aim_stays_as_it_is(
    backfill: Backfill,
) -> None:
    times = iter([AIM, AIM / 2, AIM, AIM / 2, AIM])
    table = Table(32, lambda _: next(times))
    backfill(table, most=8)
    assert table.batches == [8] * 5


@pytest.mark.parametrize(
    ("took", "share", "pause"),
    [(0.1, 0.5, 0.1), (0.1, 0.25, 0.3), (0.1, 1.0, SHORTEST_PAUSE), (0.001, 0.5, SHORTEST_PAUSE), (9.0, 0.5, 5.0)],
)
def test_between_batches_the_database_rests_for_its_share_and_within_bounds(
    backfill: Backfill,
    took: float,
    share: float,
    pause: float,
) -> None:
    table = Table(1, lambda _: took)
    told = backfill(table, most=8, share=share)
    assert table.pauses == pytest.approx([pause])
    assert LONGEST_PAUSE == 5.0
    assert told == [Working("The backfill has changed 1 rows so far.")]


@pytest.mark.parametrize(("limit", "looks"), [(None, 14), (1.0, 4)])
async def test_a_wait_for_the_schema_looks_less_and_less_often_up_to_a_bound_and_not_beyond_its_limit(
    chance: Chance, monkeypatch: pytest.MonkeyPatch, limit: float | None, looks: int
) -> None:
    now, pauses = 0.0, list[float]()
    lines: list[str] = []

    async def look(*_: object) -> GateVerdict:
        state = "open" if len(pauses) == 14 else "waiting"
        return GateVerdict(state, "NotThere", "Not there.")  # type: ignore[arg-type]

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    chance(1.0)
    monkeypatch.setattr(wait_module, "look", look)
    monkeypatch.setattr(wait_module, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    if limit is None:
        assert (await wait_for_schema(Settings(), report=lines.append)).is_open
        assert pauses[:4] == pytest.approx([0.25, 0.375, 0.5625, 0.84375])
        assert pauses[7:] == pytest.approx([3.0] * 7)
        assert len(lines) == 1, "the same reason is not said at every look"
    else:
        with pytest.raises(MigrationError, match="Not ready after 1 s: Not there"):
            await wait_for_schema(Settings(), limit=limit, report=lines.append)
        assert sum(pauses) == pytest.approx(1.0)
    assert len(pauses) == looks - (limit is not None)


async def test_a_reason_that_lasts_is_said_again_and_a_new_one_at_once(
    chance: Chance, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(["a", "a", "a", "b", "a"])
    now, lines = 0.0, list[str]()

    async def look(*_: object) -> GateVerdict:
        sentence = next(verdicts, None)
        return GateVerdict("waiting" if sentence else "open", "Why", sentence or "")  # type: ignore[arg-type]

    async def sleep(_: float) -> None:
        nonlocal now
        now += wait_module.TELL_AGAIN / 2

    chance(0.0)
    monkeypatch.setattr(wait_module, "look", look)
    monkeypatch.setattr(wait_module, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await wait_for_schema(Settings(), report=lines.append)
    assert lines == [f"Waiting: {sentence} (Why)" for sentence in ("a", "a", "b", "a")]
