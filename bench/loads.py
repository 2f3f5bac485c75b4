"""Loads by wrk, in turns with the bare route; a load that isn't answered as it should fails the benchmark."""

from __future__ import annotations

import json
import secrets
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Server

CONNECTIONS = 16
GRACE = 20
"""Seconds that wrk gets beyond the length of its load before it is ended."""

SCRIPT = Path(__file__).with_name("load.lua")


class LoadError(RuntimeError):
    """Some requests failed: their rate would say nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request. `keyed`: each request carries an Idempotency-Key of its own.

    `paths` are asked in turns instead of the address's own. `sessions` makes refresh tokens, anew for each run, that
    are used up: each request refreshes one, and goes on with the token that it is given.
    """

    name: str
    server: Server
    url: str
    method: str = "GET"
    token: str = ""
    body: str = ""
    keyed: bool = False
    paths: tuple[str, ...] = ()
    sessions: Callable[[], Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Requests per second, CPU time of the server for each (microseconds), and latencies (milliseconds)."""

    rate: float
    cpu: float
    p50: float
    p99: float


@dataclass(slots=True)
class Turns:
    """What the rounds of one load measured, each beside the bare route in the seconds before."""

    bare: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    bare_cpus: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)

    @property
    def ratio(self) -> float:
        """The median of the ratios of the pairs: what slows the machine for a while slows both of a pair."""
        return statistics.median(rate / bare for rate, bare in zip(self.rates, self.bare, strict=True))


def run_load(load: Load, seconds: int) -> Outcome:
    """Raises LoadError unless every reply was 2xx or 3xx and no connection broke."""
    prefix = secrets.token_hex(8) if load.keyed else ""
    refreshed = " ".join(load.sessions()) if load.sessions else ""
    cpu_before = load.server.cpu_seconds()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), load.url,
         "--", load.method, load.token, load.body, prefix, " ".join(load.paths), refreshed],
        capture_output=True,
        text=True,
        timeout=seconds + GRACE,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise LoadError(f"wrk failed at “{load.name}”: {done.stdout}{done.stderr}")
    return _outcome(load.name, json.loads(done.stdout.splitlines()[-1]), load.server.cpu_seconds() - cpu_before)


def _outcome(name: str, said: dict[str, int], cpu: float) -> Outcome:
    if said["refused"] or said["broken"] or not said["requests"]:
        raise LoadError(
            f"“{name}”: of {said['requests']} requests {said['refused']} had an error status and {said['broken']} none."
        )
    count = said["requests"]
    return Outcome(count / said["microseconds"] * 1e6, cpu / count * 1e6, said["p50"] / 1000, said["p99"] / 1000)


def take_turns(
    bare: Load, loads: Sequence[Load], *, rounds: int, seconds: int, tell: Callable[[str], None]
) -> dict[str, Turns]:
    """Bare, first load, bare, second load …, `rounds` times over, after a short warm-up of each."""
    measured = {load.name: Turns() for load in loads}
    for load in (bare, *loads):
        run_load(load, 1)
    for number in range(1, rounds + 1):
        for load in loads:
            beside = run_load(bare, seconds)
            outcome = run_load(load, seconds)
            turns = measured[load.name]
            turns.bare.append(beside.rate)
            turns.rates.append(outcome.rate)
            turns.bare_cpus.append(beside.cpu)
            turns.cpus.append(outcome.cpu)
            tell(
                f"round {number}/{rounds}  bare {beside.rate:6.0f}/s  {load.name} {outcome.rate:6.0f}/s"
                f"  {outcome.cpu:.0f} µs CPU ({outcome.cpu / beside.cpu:.1f} times bare)"
                f"  p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms"
            )
    return measured
