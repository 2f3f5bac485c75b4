"""An open-loop load generator for Slipway that needs nothing but what Slipway's own image holds.

A ConfigMap carries its four modules into a pod (harness.py), so that it runs inside any cluster.

Requests start by the clock and never wait for earlier ones; latency counts from the moment a request was due. What
counts as failed, nothing excepted: no connection, no whole reply within the timeout, another status than expected (429
and 503 too), a reply that says something else than was written, a request due while too many are under way, and at
the end each acknowledged write that the list doesn't hold exactly once, and each acknowledged job that isn't done.

New connections end with their reply. Kept-alive ones are used in turn, the longest idle first, and closed when a reply
says `Connection: close`. A connection that the server closed while it was idle is replaced, as no request was on it
(each is looked at right before it is used). A connection lost after the request was written is a failure, although
RFC 9112 (section 9.3.1) lets clients repeat idempotent requests then: only `--retry-idempotent` allows that, and those
are counted apart. Idempotent are GETs and POSTs with an Idempotency-Key.

Ends after `--seconds`, after `--count` requests, or on SIGTERM; prints `requests N failed M`, then the report as one
line of JSON. In it `sent` counts what was sent by the clock (`requests` has refreshes and the reading at the end too),
`unsent` what was due and had not been sent when SIGTERM ended the load. Exit code: 0 nothing failed, 1 something did,
2 signing in at the start did.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import uvloop

from load.connections import Connection, Pool, Reply, UnansweredError, WrongReplyError
from load.requests import Exports, Request, Writes, checked
from load.tally import Tally

KINDS = {"me": 40, "list": 15, "read": 20, "create": 25}
"""Requests by weight; reads and the list are of what was written. Sign-ins have a pace of their own."""
ATTEMPTS = 10
"""Tries of an idempotent request where repeats are allowed: 3 to 8 s, while a dead pod keeps its address for two."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before the first repeat; doubles each time up to the longest, with jitter."""
START_WITHIN = 20.0
"""Seconds within which the first sign-in must work: a new pod's network may take a moment."""
EXPORTS_WITHIN = 45.0
"""Seconds within which every acknowledged background job must be done after the load."""
PAGE = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. Times in seconds, the rate in requests a second, shares between 0 and 1."""

    target: str
    credentials: Path
    rate: float
    seconds: float
    count: int
    max_in_flight: int
    new_share: float
    pool: int
    timeout: float
    sign_in_every: float
    export_every: float
    retry_idempotent: bool
    seed: int


class Load:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        parts = urlsplit(plan.target)
        self._host = parts.netloc
        # Once: a Service keeps its address.
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)[0][4]
        self._pool = Pool((str(found[0]), int(found[1])), plan.pool)
        self._email, self._password = ((plan.credentials / name).read_text().strip() for name in ("email", "password"))
        self._random = random.Random(plan.seed)  # noqa: S311 - a mix, not a secret
        self._writes, self._exports = Writes(), Exports()
        self._tally = Tally(asyncio.get_running_loop().time())
        self._under_way: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self._scheduled = self._sent = 0
        self._token = self._refresh_token = ""
        self._lifetime = 0.0
        self._next_sign_in = self._next_export = 0.0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        if not await self._sign_in_at_start():
            return 2
        self._tally = Tally(loop.time())
        schedule = asyncio.create_task(self._schedule())
        loop.add_signal_handler(signal.SIGTERM, schedule.cancel)
        beside = [asyncio.create_task(work) for work in self._beside()]
        for task in (schedule, *beside):
            task.add_done_callback(self._ended)
        await asyncio.wait([schedule])
        lasted = loop.time() - self._tally.started
        if self._under_way:
            await asyncio.wait(self._under_way)
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        await self._verify_writes()
        await self._verify_exports()
        self._pool.close()
        if self._errors:
            raise self._errors[0]
        return self._report(lasted)

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for ever while requests are sent."""
        return [self._progress(), self._stay_signed_in()]

    async def _schedule(self) -> None:
        loop, plan = asyncio.get_running_loop(), self._plan
        for number in range(min(plan.count, int(plan.seconds * plan.rate))):
            due = self._tally.started + number / plan.rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            request = self._next(due)
            self._scheduled += 1
            if len(self._under_way) >= plan.max_in_flight:
                self._tally.requests[request.kind] += 1
                self._tally.fail(request.kind, "none", f"{plan.max_in_flight} requests were under way already")
                continue
            fresh = self._random.random() < plan.new_share
            task = asyncio.create_task(self._perform(request, due, fresh=fresh))
            self._sent += 1
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Keep what a task died of: a fault of the generator's own must not pass for a request that went well."""
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)

    def _next(self, due: float) -> Request:
        if self._plan.sign_in_every and due >= self._next_sign_in:
            self._next_sign_in = due + self._plan.sign_in_every
            return self._sign_in()
        if self._plan.export_every and due >= self._next_export:
            self._next_export = due + self._plan.export_every
            return self._exports.ask()
        kind = self._random.choices([*KINDS], [*KINDS.values()])[0]
        if kind == "create":
            return self._writes.create()
        if kind == "list":
            return self._writes.page("list", 20)
        again = self._writes.read(self._random) if kind == "read" else None
        return again or Request("me", "GET", "/api/v1/users/me", self._check_me)

    def _check_me(self, user: Any) -> str | None:
        return None if isinstance(user, dict) and user.get("email") == self._email else "another user"

    def _sign_in(self) -> Request:
        form = urlencode({"username": self._email, "password": self._password}).encode()
        headers = ("Content-Type: application/x-www-form-urlencoded",)
        return Request("sign_in", "POST", "/api/v1/auth/token", self._take_token, 200, headers, form, idempotent=False)

    def _refresh(self) -> Request:
        body, headers = orjson.dumps({"refresh_token": self._refresh_token}), ("Content-Type: application/json",)
        return Request(
            "refresh", "POST", "/api/v1/auth/refresh", self._take_token, 200, headers, body, idempotent=False
        )

    def _take_token(self, reply: Any) -> str | None:
        if not isinstance(reply, dict) or not reply.get("access_token"):
            return "no token"
        self._token, self._refresh_token = reply["access_token"], reply["refresh_token"]
        self._lifetime = float(reply["expires_in"])
        return None

    async def _sign_in_at_start(self) -> bool:
        """Not counted: the load has not begun."""
        loop = asyncio.get_running_loop()
        end = loop.time() + START_WITHIN
        while True:
            self._tally = Tally(loop.time())
            await self._perform(self._sign_in(), loop.time(), fresh=True)
            if not self._tally.failed:
                return True
            if loop.time() > end:
                print(f"can't sign in: {self._tally.failures[0]['error']}", flush=True)
                return False
            await asyncio.sleep(0.5 * (1 + self._random.random()))

    async def _stay_signed_in(self) -> None:
        while True:
            await asyncio.sleep(self._lifetime / 2)
            await self._perform(self._refresh(), asyncio.get_running_loop().time(), fresh=False)

    async def _perform(self, request: Request, due: float, *, fresh: bool) -> Any:
        """Send it, check the reply, count; the reply's JSON, None when it failed."""
        self._tally.requests[request.kind] += 1
        used = "new" if fresh else "kept-alive"
        try:
            async with asyncio.timeout(self._plan.timeout):
                shown = await self._until_answered(request, fresh=fresh)
        except TimeoutError:
            self._tally.fail(request.kind, used, f"no reply within {self._plan.timeout:g} s")
        except (UnansweredError, WrongReplyError) as error:
            self._tally.fail(request.kind, used, str(error))
        else:
            self._tally.latencies.append(asyncio.get_running_loop().time() - due)
            return shown
        return None

    async def _until_answered(self, request: Request, *, fresh: bool) -> Any:
        tries = ATTEMPTS if self._plan.retry_idempotent and request.idempotent else 1
        for attempt in range(tries):
            try:
                reply = await self._attempt(request, fresh=fresh)
            except UnansweredError:
                if attempt + 1 == tries:
                    raise
                self._tally.retried += 1
                pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
                await asyncio.sleep(pause * (0.5 + self._random.random()))
            else:
                return checked(request, reply)
        raise AssertionError

    async def _attempt(self, request: Request, *, fresh: bool) -> Reply:
        connection: Connection | None = None if fresh else self._pool.take()
        keep = False
        try:
            if connection is None:
                connection = await self._pool.open()
            reply = await self._exchange(connection, request)
            keep = reply.keep and not fresh
        finally:
            if not fresh:
                self._pool.give_back(connection, keep=keep)
            elif connection is not None:
                connection.close()
        return reply

    async def _exchange(self, connection: Connection, request: Request) -> Reply:
        """With the token of this very moment."""
        return await connection.exchange(request.encode(self._host, self._token))

    async def _verify_writes(self) -> None:
        """Read the whole list and compare it with what was acknowledged."""
        loop, found, cursor = asyncio.get_running_loop(), [], ""
        while True:
            page = await self._perform(self._writes.page("verify", PAGE, cursor), loop.time(), fresh=False)
            if page is None:
                return  # counted; what isn't read can't be called lost
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                break
        for fault in self._writes.faults(found):
            self._tally.fail("verify", "none", fault)

    async def _verify_exports(self) -> None:
        """Wait until each is done; one that isn't in time is a failure, whatever became of its job."""
        loop = asyncio.get_running_loop()
        end = loop.time() + EXPORTS_WITHIN
        for export_id in self._exports.acknowledged:
            while True:
                export = await self._perform(self._exports.look(export_id), loop.time(), fresh=False)
                if export is None or export["state"] == "done":
                    break
                if loop.time() > end:
                    self._tally.fail("verify", "none", f"export {export_id} still {export['state']}")
                    break
                await asyncio.sleep(0.2)

    async def _progress(self) -> None:
        print(f"loading {self._plan.target} at {self._plan.rate:g}/s", flush=True)
        while True:
            await asyncio.sleep(1)
            print(f"progress {self._tally.line()}", flush=True)

    def _findings(self) -> dict[str, Any]:
        """What the report has beside counts of requests."""
        return {}

    def _report(self, lasted: float) -> int:
        tally, pool = self._tally, self._pool
        report = {
            "requests": tally.requests.total(),
            "failed": tally.failed.total(),
            "sent": self._sent,
            "unsent": max(0, int(lasted * self._plan.rate) - self._scheduled),
            "retried": tally.retried,
            "by_kind": {kind: {"requests": n, "failed": tally.failed[kind]} for kind, n in tally.requests.items()},
            "connections": {"opened": pool.opened, "reused": pool.reused, "found_closed": pool.found_closed},
            "writes_acknowledged": self._writes.acknowledged,
            "exports_acknowledged": len(self._exports.acknowledged),
            "latency_ms": tally.latency(),
            "rate": self._plan.rate,
            "seconds": round(lasted, 2),
            "failures": tally.failures,
            **self._findings(),
        }
        print(tally.line(), flush=True)
        print(orjson.dumps(report).decode(), flush=True)
        return 1 if tally.failed else 0


def read_plan(arguments: list[str]) -> Plan:
    parser = argparse.ArgumentParser(description="Open-loop load on Slipway.")
    parser.add_argument("--target", required=True, help="http://host[:port]")
    parser.add_argument("--credentials", type=Path, required=True, help="folder with the files email and password")
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--max-in-flight", type=int, default=200)
    parser.add_argument("--new-share", type=float, default=0.5, help="share of requests on a new connection each")
    parser.add_argument("--pool", type=int, default=8, help="kept-alive connections")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--sign-in-every", type=float, default=5.0, help="seconds; 0 for no sign-ins under load")
    parser.add_argument("--export-every", type=float, default=0.0, help="seconds; 0 for no background jobs")
    parser.add_argument("--retry-idempotent", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    return Plan(**vars(parser.parse_args(arguments)))


async def main() -> int:
    return await Load(read_plan(sys.argv[1:])).run()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
