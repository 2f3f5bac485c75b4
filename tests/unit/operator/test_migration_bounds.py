"""How much of a Job's log is read, how long it is waited for, and what of a plan fits: to the last byte and second."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from slipway_operator.cluster import ApiError
from slipway_operator.migrations import observe, sql
from slipway_operator.migrations.jobs import backup_job
from slipway_operator.migrations.lint import lint
from slipway_operator.migrations.model import GateSeen, PodSeen
from slipway_operator.migrations.names import plan_config_map, script_config_map, shortened
from slipway_operator.migrations.pods import broken_by, digest_of, has_image, listed, lives
from slipway_operator.migrations.spec import parse
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import NOW, deployment, resource
from unit.operator.test_migration_jobs import MEMORY
from unit.operator.test_migration_lint import planned, program
from unit.operator.test_migration_observe import KEY, job, pod_of

Run = Callable[[Coroutine[Any, Any, Any]], Any]
KIB = 1024


class Logs(MemoryApi):
    """Notes how logs are asked for; None never answers."""

    def __init__(self, said: str | ApiError | None = "") -> None:
        super().__init__()
        self.asked: list[tuple[int, int | None]] = []
        self.said = said
        self.put("schemamigrations", resource({"planKey": KEY}))
        self.put("deployments", deployment())

    async def log(self, namespace: str, pod: str, *, container: str, tail: int | None = None, limit: int) -> str:
        assert (namespace, pod, container) == ("one", "j-pod", "api")
        self.asked.append((limit, tail))
        if self.said is None:
            await asyncio.Event().wait()
        if isinstance(self.said, ApiError):
            raise self.said
        return self.said or ""


def planning(said: str | ApiError | None = "") -> Logs:
    cluster = Logs(said)
    cluster.put("jobs", job("j", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    return cluster


def running() -> Logs:
    cluster = Logs(None)
    cluster.put("jobs", job("j", "expand"))
    cluster.put("pods", pod_of("j", running={}))
    return cluster


async def seen_at(cluster: MemoryApi, now: float) -> tuple[str, str]:
    found = await observe.look(cluster, "one", "shop", now)
    assert found is not None
    (one,) = found.observed.jobs
    return one.state, one.trouble.reason if one.trouble else ""


def test_of_a_plan_eight_mebibytes_are_read_and_fifteen_seconds_waited(in_no_time: Run) -> None:
    cluster = planning(None)

    async def story() -> float:
        assert await seen_at(cluster, NOW) == ("running", "LogUnreachable")
        return asyncio.get_running_loop().time()

    assert in_no_time(story()) == 15
    assert cluster.asked == [(8 * KIB * KIB, None)]


def test_of_a_run_the_last_fifty_lines_of_64_kibibytes_are_read_and_five_seconds_waited(in_no_time: Run) -> None:
    cluster = running()

    async def story() -> float:
        assert await seen_at(cluster, NOW) == ("running", "")
        return asyncio.get_running_loop().time()

    assert in_no_time(story()) == 5
    assert cluster.asked == [(64 * KIB, 50)]


@pytest.mark.parametrize(("after", "state"), [(0.0, "running"), (120.0, "running"), (120.5, "failed")])
async def test_a_plan_whose_log_is_away_is_waited_for_two_minutes(after: float, state: str) -> None:
    cluster = planning(ApiError(500, "InternalError", "x"))
    assert await seen_at(cluster, NOW - 1 + after) == (state, "LogUnreachable")


@pytest.mark.parametrize(
    ("status", "told"),
    [(0, "LogUnreachable"), (404, "PlanUnreadable"), (499, "PlanUnreadable"), (500, "LogUnreachable")],
)
async def test_only_a_server_that_is_away_is_waited_for(status: int, told: str) -> None:
    assert (await seen_at(planning(ApiError(status, "Why", "x")), NOW))[1] == told


@pytest.mark.parametrize(("age", "asked"), [(3.0, False), (3.5, True)])
async def test_events_are_asked_for_when_a_job_has_not_begun_after_three_seconds(age: float, *, asked: bool) -> None:
    cluster = Logs()
    cluster.put("jobs", job("j", age=age))
    await seen_at(cluster, NOW)
    assert ("list events" in cluster.calls) == asked


def test_the_job_of_a_backup_stays_for_a_day() -> None:
    wish = resource(backup={"cronJobName": "dump"})
    template = {"spec": {"containers": [{"name": "dump"}]}}
    made = backup_job(wish, parse(wish), MEMORY, 0, {"spec": {"jobTemplate": {"spec": {"template": template}}}})
    assert made["spec"]["ttlSecondsAfterFinished"] == 86_400


def test_sql_of_256_kibibytes_is_shown_plain_and_of_a_byte_more_compressed() -> None:
    fits = "é" + "x" * (256 * KIB - 2)
    assert (sql.key_of(fits), sql.key_of(fits + "x")) == ("plan.sql", "plan.sql.gz")
    assert sql.config_map(resource(), "c", fits)["data"] == {"plan.sql": fits}


def test_sql_that_packs_into_640_kibibytes_is_shown_whole_and_of_more_the_beginning() -> None:
    noise = hashlib.shake_256(b"7").hexdigest(600 * KIB)
    limit = 640 * KIB

    def packed(size: int) -> int:
        return len(gzip.compress(noise[:size].encode(), mtime=0))

    taken = 1_000_000 / packed(1_000_000)
    fits, beyond = int(taken * (limit - 300)), int(taken * (limit + 300))
    assert limit - 600 < packed(fits) <= limit < packed(beyond) < limit + 600

    def shown(size: int) -> str:
        body = sql.config_map(resource(), "c", noise[:size])
        return gzip.decompress(b64decode(body["binaryData"]["plan.sql.gz"])).decode()

    assert shown(fits) == noise[:fits]
    assert shown(beyond) == noise[: beyond // 2] + "\n-- The rest is too long to be shown here.\n"


def test_a_name_that_fits_stays_and_a_longer_one_has_a_hash_at_its_end() -> None:
    assert shortened("n" * 63, 63) == "n" * 63
    cut = shortened("n" * 64, 63)
    assert (len(cut), cut[:54], cut[54]) == (63, "n" * 54, "-")
    for made in (plan_config_map, script_config_map):
        assert len(made("n" * 253)) == 253
        fits = 253 - len(made(""))
        assert made("n" * fits).startswith("n" * fits + "-")
        assert not made("n" * (fits + 1)).startswith("n" * fits)


ANNOUNCED = NOW - 100
PODS = tuple(PodSeen(f"p{n}", frozenset({"old@sha256:" + "a" * 64}), GateSeen("passed")) for n in range(6))


def test_five_pods_are_named_and_the_rest_counted() -> None:
    assert listed(PODS[:5]) == "p0, p1, p2, p3, p4"
    assert listed(PODS) == "p0, p1, p2, p3, p4 and 1 more"


@pytest.mark.parametrize(
    ("gate", "announced", "counts"),
    [
        (GateSeen("passed"), ANNOUNCED, True),
        (GateSeen("waiting"), None, True),
        (GateSeen("waiting"), ANNOUNCED, False),
        (GateSeen("waiting"), NOW - 9.5, True),
        (GateSeen("waiting"), NOW - 10, False),
        (GateSeen("running", ANNOUNCED + 9.5), ANNOUNCED, True),
        (GateSeen("running", ANNOUNCED + 10), ANNOUNCED, False),
        (GateSeen("running", NOW), ANNOUNCED, False),
        (GateSeen("running", NOW + 0.5), ANNOUNCED, True),
    ],
)
def test_a_pod_counts_unless_its_gate_began_ten_seconds_after_the_announcement(
    gate: GateSeen, announced: float | None, *, counts: bool
) -> None:
    assert lives(PodSeen("p", frozenset(), gate), announced, NOW) == counts


def test_images_are_the_same_by_their_digest_and_one_that_a_pod_has_in_two_versions_is_not_its() -> None:
    ours, known = "b.example/shop@sha256:" + "a" * 64, PODS[0]
    assert has_image(known, ours)
    assert not has_image(known, "b.example/shop@sha256:" + "b" * 64)
    mixed = PodSeen("p", known.image_ids, known.gate, mixed=frozenset({digest_of(ours)}))
    assert not has_image(mixed, ours)
    assert broken_by(ours, (mixed, *PODS), ANNOUNCED, NOW) == (mixed,)
    others = broken_by("other", PODS[::-1], ANNOUNCED, NOW)
    assert [pod.name for pod in others] == ["p0", "p1", "p2", "p3", "p4", "p5"]


@pytest.mark.parametrize("code", [0, 1])
async def test_what_squawk_says_is_cut_to_what_a_status_holds(tmp_path: Path, code: int) -> None:
    one = {"rule_name": "r" * 99, "level": "Warning", "message": "m" * 2000, "help": "h"}
    found = [one] if code else []
    squawk = program(tmp_path, f"print({json.dumps(found)!r}); raise SystemExit({code})")
    findings = await lint([planned("SELECT 1;")], squawk=squawk)
    assert [(len(each.rule), len(each.message)) for each in findings] == [(64, 1024)] * code
