# ruff: noqa: A005 - named for what it measures; the line below `ROOT` keeps it from hiding the library's `http`
"""The benchmark of the HTTP service: `python bench/http.py [--quick] [--markdown] [--loads TEXT]`, or `make bench`.

It prints ratios against a bare FastAPI route (bare.py) that is loaded in turns with Slipway on the same machine, and
with the plain stack (plain.py). It judges nothing: the exit code is 0 unless something broke, and replies that aren't
2xx break it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path
from time import time

ROOT = Path(__file__).resolve().parent.parent
# Python puts this folder first on its path, where this very file would hide the standard library's `http`.
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

import jwt  # noqa: E402
from bench.accounts import TOKEN_PATH, create_items, create_sessions, create_users, email_of, id_of, sign_in  # noqa: E402
from bench.loads import CONNECTIONS, Load, Turns, take_turns  # noqa: E402
from bench.metrics_cost import metrics_cost  # noqa: E402
from bench.report import Figure, as_markdown, as_text, machine  # noqa: E402
from bench.sign_ins import CLIENTS, cost_of_refusals, liveness_under_sign_ins, time_of_sign_in  # noqa: E402
from bench.stage import Slipway, Stage, open_stage  # noqa: E402

REFUSALS = 40
STARTS = 5
LISTED, CHANGED = 1000, 64
"""Items of the user whose list is read, and of the one who changes theirs."""
ITEM = '{"title": "Hull planks", "body": "Oak, 40 mm, steamed; forty pieces for the port side."}'
USERS_ME, ITEMS = "/api/v1/users/me", "/api/v1/items"

ME = "GET /api/v1/users/me, everything on"
ROW = "the same, its row read each time"
CREATE = "POST /api/v1/items"
CREATE_ONCE = "the same with an Idempotency-Key"
LIST = "GET /api/v1/items, 20 of 1,000"
CHANGE = "PATCH /api/v1/items/{id}"
REFRESH = "POST /api/v1/auth/token, a refresh"
GOALS = {ME: ("≥ 0.65", "0.70"), ROW: ("≥ 0.35", ""), CREATE: ("≥ 0.18", "0.22"), CREATE_ONCE: ("≥ 0.15", "0.18")}
PLAIN = {"plain stack: users/me": ME, "plain stack: items": CREATE}
"""The plain stack's loads, by which of Slipway's they stand beside."""


def tell(text: str) -> None:
    """Progress goes to standard error, so that standard output is the table."""
    print(text, file=sys.stderr, flush=True)


def loads_of(stage: Stage, slipway: Slipway, reading: Slipway) -> list[Load]:
    """All that is loaded in turns with the bare route."""
    database = stage.database
    token, listing, changing = (sign_in(slipway, email_of(number)) for number in (1, 2, 3))
    asyncio.run(create_items(database, email_of(2), LISTED))
    changed = asyncio.run(create_items(database, email_of(3), CHANGED))
    own, plain = slipway.url, stage.plain_url
    claims = {"sub": str(asyncio.run(id_of(database, email_of(1)))), "exp": int(time()) + 3600}
    plain_token = jwt.encode(claims, stage.plain_secret, "HS256")
    on_plain_me, on_plain_items = PLAIN
    return [
        Load(ME, slipway.server, own + USERS_ME, token=token),
        Load(on_plain_me, stage.plain, plain + USERS_ME, token=plain_token),
        Load(ROW, reading.server, reading.url + USERS_ME, token=token),
        Load(CREATE, slipway.server, own + ITEMS, "POST", token, ITEM),
        Load(on_plain_items, stage.plain, plain + ITEMS, "POST", plain_token, ITEM),
        Load(CREATE_ONCE, slipway.server, own + ITEMS, "POST", token, ITEM, keyed=True),
        Load(LIST, slipway.server, own + ITEMS, token=listing),
        Load(
            CHANGE,
            slipway.server,
            own + ITEMS,
            "PATCH",
            changing,
            ITEM,
            paths=tuple(f"{ITEMS}/{item}" for item in changed),
        ),
        Load(REFRESH, slipway.server, own + TOKEN_PATH, "POST", sessions=lambda: _sessions(stage)),
    ]


def _sessions(stage: Stage) -> list[str]:
    return asyncio.run(create_sessions(stage.database, [email_of(number) for number in range(1, CLIENTS + 1)]))


def measure_loads(stage: Stage, slipway: Slipway, wanted: str, *, rounds: int, seconds: int) -> dict[str, Turns]:
    """Those whose name has `wanted` in it."""
    reading = stage.slipway("slipway-reading", session_max_age="0")
    stage.keep(reading.server)
    loads = [load for load in loads_of(stage, slipway, reading) if wanted in load.name]
    try:
        return take_turns(
            Load("bare GET", stage.bare, stage.bare_url), loads, rounds=rounds, seconds=seconds, tell=tell
        )
    finally:
        reading.server.stop()


def load_figures(measured: dict[str, Turns]) -> list[Figure]:
    bare = statistics.median(rate for turns in measured.values() for rate in turns.bare)
    cpu = statistics.median(cost for turns in measured.values() for cost in turns.bare_cpus)
    beside = {PLAIN[name]: _of_bare(turns) for name, turns in measured.items() if name in PLAIN}
    return [
        Figure("bare FastAPI route", f"{bare:,.0f}/s, {cpu:,.0f} µs CPU each"),
        *(
            Figure(name, _of_bare(turns), beside.get(name, ""), *GOALS.get(name, ()))
            for name, turns in measured.items()
            if name not in PLAIN
        ),
    ]


def _of_bare(turns: Turns) -> str:
    return f"{turns.ratio:.2f} of bare ({turns.rate:,.0f}/s, {turns.cpu:,.0f} µs CPU each)"


def measure_starts(stage: Stage, count: int) -> Figure:
    slipway = stage.slipway("slipway-starting")
    times = []
    for _ in range(count):
        try:
            times.append(slipway.server.start())
        finally:
            slipway.server.stop()
    return Figure(
        f"process start to ready (median of {count})", f"{statistics.median(times):.2f} s", required="≤ 1.8 s"
    )


def measure_sign_ins(slipway: Slipway, refusals: int) -> list[Figure]:
    liveness = liveness_under_sign_ins(slipway)
    tell(f"{liveness}")
    accepted = time_of_sign_in(slipway, refusals)
    cost = cost_of_refusals(slipway, refusals)
    return [
        Figure(f"/livez p99 while {CLIENTS} clients sign in", f"{liveness.p99:.1f} ms", required="≤ 20 ms"),
        Figure(f"sign-in, one at a time (median of {refusals})", f"{accepted:.0f} ms"),
        Figure(
            "refused sign-in, unknown e-mail against known",
            f"{cost.ratio:.2f} ({cost.unknown:.0f} ms / {cost.known:.0f} ms)",
            goal="1.00",
        ),
    ]


def measure(wanted: str, *, quick: bool) -> list[Figure]:
    """Everything, or the loads with `wanted` in their names; `quick`, to see whether it works."""
    rounds, seconds = (1, 2) if quick else (5, 3)
    with open_stage() as stage:
        slipway = stage.slipway("slipway")
        stage.keep(slipway.server)
        asyncio.run(create_users(stage.database, max(CLIENTS, REFUSALS)))
        figures = load_figures(measure_loads(stage, slipway, wanted, rounds=rounds, seconds=seconds))
        if wanted:
            return figures
        after_loads, of_plain = slipway.server.memory(), stage.plain.memory()
        figures += measure_sign_ins(slipway, 10 if quick else REFUSALS)
        after_all = slipway.server.memory()
        figures += [
            Figure("resident memory after the loads", f"{after_loads:.0f} MiB", f"{of_plain:.0f} MiB", "≤ 115 MiB"),
            Figure("resident memory after the sign-ins too", f"{after_all:.0f} MiB", required="≤ 115 MiB"),
            measure_starts(stage, 2 if quick else STARTS),
            Figure("HTTP metrics, a request", f"{metrics_cost():.1f} µs", required="< 25 µs"),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that it works, measures little")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--loads", default="", metavar="TEXT", help="only loads with this in their names")
    arguments = parser.parse_args()
    figures = measure(arguments.loads, quick=arguments.quick)
    print(as_markdown(figures) if arguments.markdown else as_text(figures))
    print(f"\n{machine(CONNECTIONS)}")


if __name__ == "__main__":
    main()
