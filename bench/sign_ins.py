"""What signing in costs: others, while many do it at once; and itself, for addresses that are known and unknown."""

from __future__ import annotations

import statistics
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPConnection
from time import monotonic, perf_counter, sleep

from bench.accounts import TOKEN_PATH, email_of, sign_in
from bench.asking import UnexpectedStatusError, ask
from bench.stage import PASSWORD, Slipway

CLIENTS = 64
PROBE_INTERVAL = 0.01
LONGEST = 120.0
"""Seconds after which the clients give up."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """`/livez` while clients sign in: milliseconds, counts, and seconds until the last client was signed in."""

    p50: float
    p99: float
    worst: float
    probes: int
    turned_away: int
    seconds: float


def liveness_under_sign_ins(slipway: Slipway) -> Liveness:
    """Each client is a user of its own who signs in once, and comes back when turned away with 503.

    A probe that takes longer than PROBE_INTERVAL stands for those that would have been sent meanwhile as well, each
    of which would have waited for what was left: one long stall isn't a single slow probe.
    """
    began = monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(_sign_in_patiently, slipway, email_of(n), began + LONGEST) for n in range(1, CLIENTS + 1)
        ]
        latencies = _probe_until_done(slipway, clients)
        seconds = monotonic() - began
        turned_away = sum(client.result() for client in clients)
    percentiles = statistics.quantiles(latencies, n=100)
    return Liveness(percentiles[49], percentiles[98], max(latencies), len(latencies), turned_away, seconds)


def _sign_in_patiently(slipway: Slipway, email: str, until: float) -> int:
    """How often it was turned away before it was let in. Raises UnexpectedStatusError."""
    turned_away = 0
    while True:
        status, body = ask(slipway.port, TOKEN_PATH, form={"username": email, "password": PASSWORD})
        if status == 200:
            return turned_away
        if status != 503 or monotonic() > until:
            raise UnexpectedStatusError(f"Signing in gave {status}: {body.decode(errors='replace')}")
        turned_away += 1
        sleep(1)


def _probe_until_done(slipway: Slipway, clients: list[Future[int]]) -> list[float]:
    latencies = []
    connection = HTTPConnection("127.0.0.1", slipway.ops_port, timeout=10)
    try:
        while wait(clients, timeout=0).not_done:
            began = perf_counter()
            status, _ = ask(slipway.ops_port, "/livez", connection=connection)
            took = perf_counter() - began
            if status != 200:
                raise UnexpectedStatusError(f"/livez gave {status}")
            latencies += [(took - held_up * PROBE_INTERVAL) * 1000 for held_up in range(int(took / PROBE_INTERVAL) + 1)]
            sleep(max(0.0, PROBE_INTERVAL - took))
    finally:
        connection.close()
    return latencies


def time_of_sign_in(slipway: Slipway, count: int) -> float:
    """Median milliseconds of right passwords, of `count` users, one at a time."""
    times = []
    for number in range(1, count + 1):
        began = perf_counter()
        sign_in(slipway, email_of(number))
        times.append((perf_counter() - began) * 1000)
    return statistics.median(times)


@dataclass(frozen=True, slots=True)
class RefusalCost:
    """Medians in milliseconds of refused sign-ins."""

    unknown: float
    known: float

    @property
    def ratio(self) -> float:
        return self.unknown / self.known


def cost_of_refusals(slipway: Slipway, count: int) -> RefusalCost:
    """Wrong passwords for `count` addresses without and with an account, one at a time and in turns."""
    unknown, known = [], []
    for number in range(1, count + 1):
        unknown.append(_refused(slipway, f"nobody{number}@bench.example"))
        known.append(_refused(slipway, email_of(number)))
    return RefusalCost(statistics.median(unknown), statistics.median(known))


def _refused(slipway: Slipway, email: str) -> float:
    began = perf_counter()
    status, body = ask(slipway.port, TOKEN_PATH, form={"username": email, "password": "not the pass phrase"})
    took = (perf_counter() - began) * 1000
    if status != 401:
        raise UnexpectedStatusError(f"A wrong password gave {status}: {body.decode(errors='replace')}")
    return took
