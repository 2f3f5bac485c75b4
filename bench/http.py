# ruff: noqa: A005 - named for what it measures; the line below `ROOT` keeps it from hiding the library's `http`
"""The benchmark of the HTTP service: `python bench/http.py [--quick] [--markdown]`, or `make bench`.

It prints ratios against a bare FastAPI route that is loaded in turns with Slipway on the same machine. It judges
nothing: the exit code is 0 unless something broke, and replies that aren't 2xx break it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Python puts this folder first on its path, where this very file would hide the standard library's `http`.
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from bench.accounts import create_users, email_of, sign_in  # noqa: E402
from bench.loads import CONNECTIONS, Load, Turns, take_turns  # noqa: E402
from bench.metrics_cost import metrics_cost  # noqa: E402
from bench.report import Figure, as_markdown, as_text, machine  # noqa: E402
from bench.sign_ins import CLIENTS, cost_of_refusals, liveness_under_sign_ins  # noqa: E402
from bench.stage import Slipway, Stage, open_stage  # noqa: E402

REFUSALS = 40
STARTS = 5
ITEM = '{"title": "Hull planks", "body": "Oak, 40 mm, steamed; forty pieces for the port side."}'

ME = "GET /api/v1/users/me, everything on"
ROW = "the same, its row read each time"
CREATE = "POST /api/v1/items"
CREATE_ONCE = "the same with an Idempotency-Key"
GOALS = {ME: ("≥ 0.45", "0.65"), ROW: ("≥ 0.15", "0.25"), CREATE: ("≥ 0.08", "0.15"), CREATE_ONCE: ("", "")}


def tell(text: str) -> None:
    """Progress goes to standard error, so that standard output is the table."""
    print(text, file=sys.stderr, flush=True)


def measure_loads(stage: Stage, slipway: Slipway, *, rounds: int, seconds: int) -> dict[str, Turns]:
    reading = stage.slipway("slipway-reading", session_max_age="0")
    stage.keep(reading.server)
    token = sign_in(slipway, email_of(1))
    me, items = "/api/v1/users/me", "/api/v1/items"
    loads = [
        Load(ME, slipway.server, slipway.url + me, token=token),
        Load(ROW, reading.server, reading.url + me, token=token),
        Load(CREATE, slipway.server, slipway.url + items, "POST", token, ITEM),
        Load(CREATE_ONCE, slipway.server, slipway.url + items, "POST", token, ITEM, keyed=True),
    ]
    try:
        return take_turns(
            Load("bare GET", stage.bare, stage.bare_url), loads, rounds=rounds, seconds=seconds, tell=tell
        )
    finally:
        reading.server.stop()


def load_figures(measured: dict[str, Turns]) -> list[Figure]:
    bare = statistics.median(rate for turns in measured.values() for rate in turns.bare)
    cpu = statistics.median(cost for turns in measured.values() for cost in turns.bare_cpus)
    figures = [Figure("bare FastAPI route", f"{bare:,.0f}/s, {cpu:,.0f} µs CPU each")]
    for name, turns in measured.items():
        required, goal = GOALS[name]
        measured_as = f"{turns.ratio:.2f} of bare ({turns.rate:,.0f}/s, {turns.cpu:,.0f} µs CPU each)"
        figures.append(Figure(name, measured_as, required, goal))
    return figures


def measure_starts(stage: Stage, count: int) -> Figure:
    slipway = stage.slipway("slipway-starting")
    times = []
    for _ in range(count):
        try:
            times.append(slipway.server.start())
        finally:
            slipway.server.stop()
    return Figure(f"process start to ready (median of {count})", f"{statistics.median(times):.2f} s", "≤ 2.5 s")


def measure_sign_ins(slipway: Slipway, refusals: int) -> list[Figure]:
    liveness = liveness_under_sign_ins(slipway)
    tell(f"{liveness}")
    cost = cost_of_refusals(slipway, refusals)
    return [
        Figure(f"/livez p99 while {CLIENTS} clients sign in", f"{liveness.p99:.1f} ms", "≤ 50 ms"),
        Figure(
            "refused sign-in, unknown e-mail against known",
            f"{cost.ratio:.2f} ({cost.unknown:.0f} ms / {cost.known:.0f} ms)",
            "",
            "1.00",
        ),
    ]


def measure(*, quick: bool) -> list[Figure]:
    """Everything, in about three minutes; `quick` in about one, for a look at whether it works."""
    rounds, seconds = (1, 2) if quick else (5, 4)
    with open_stage() as stage:
        slipway = stage.slipway("slipway")
        stage.keep(slipway.server)
        asyncio.run(create_users(stage.database, max(CLIENTS, REFUSALS)))
        figures = load_figures(measure_loads(stage, slipway, rounds=rounds, seconds=seconds))
        after_loads = slipway.server.memory()
        figures += measure_sign_ins(slipway, 10 if quick else REFUSALS)
        after_all = slipway.server.memory()
        figures += [
            Figure("resident memory after the loads", f"{after_loads:.0f} MiB", "≤ 120 MiB"),
            Figure("resident memory after the sign-ins too", f"{after_all:.0f} MiB", "≤ 120 MiB"),
            measure_starts(stage, 2 if quick else STARTS),
            Figure("HTTP metrics, a request", f"{metrics_cost():.1f} µs", "< 25 µs"),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that it works, measures little")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    figures = measure(quick=arguments.quick)
    print(as_markdown(figures) if arguments.markdown else as_text(figures))
    print(f"\n{machine(CONNECTIONS)}")


if __name__ == "__main__":
    main()
