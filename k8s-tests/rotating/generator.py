"""The load generator, with parties outside that check every token it obtains (validator.py).

Runs in a pod as load/generator.py does. A request that is refused with 401 counts as failed, and in the report also
under the key of its token, so that whoever reads it can take those of a revoked key apart; the load signs in anew then.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine
from time import time
from typing import Any

import uvloop

from load.connections import Connection, Reply
from load.generator import Load, Plan, read_plan
from load.requests import Request
from rotating.validator import Token, Validator, Validators

UNAUTHORIZED = 401
PARTIES = 4
TICK = 0.1
"""Seconds between two looks at whose cache has ended."""


class RotatingLoad(Load):
    """`cache`: seconds for which a party outside keeps the keys. `refresh_every`: seconds between two refreshes."""

    def __init__(self, plan: Plan, cache: float, refresh_every: float) -> None:
        super().__init__(plan)
        self._validators = Validators(cache, PARTIES, asyncio.get_running_loop().time())
        self._refresh_every = refresh_every
        self._refused: Counter[str] = Counter()
        self._signing_in = False

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        return [*super()._beside(), self._fetch_keys()]

    def _take_token(self, reply: Any) -> str | None:
        wrong = super()._take_token(reply)
        if wrong is None:
            self._validators.take(Token.read(self._token))
        return wrong

    async def _stay_signed_in(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_every)
            await self._perform(self._refresh(), asyncio.get_running_loop().time(), fresh=True)

    async def _exchange(self, connection: Connection, request: Request) -> Reply:
        token = self._token
        reply = await super()._exchange(connection, request)
        if reply.status == UNAUTHORIZED and not request.secret:
            self._refused[Token.read(token).key] += 1
            if token == self._token and not self._signing_in:
                self._signing_in = True
                task = asyncio.create_task(self._sign_in_anew())
                self._under_way.add(task)
                task.add_done_callback(self._ended)
        return reply

    async def _sign_in_anew(self) -> None:
        try:
            await self._perform(self._sign_in(), asyncio.get_running_loop().time(), fresh=True)
        finally:
            self._signing_in = False

    async def _fetch_keys(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for party in self._validators.due(loop.time()):
                await self._perform(self._published_keys(party), loop.time(), fresh=True)
                self._validators.learned(party, time())
            await asyncio.sleep(TICK)

    def _published_keys(self, party: Validator) -> Request:
        def check(document: Any) -> str | None:
            if not document["keys"]:
                return "no keys"
            party.learn(document, asyncio.get_running_loop().time())
            return None

        return Request("jwks", "GET", "/.well-known/jwks.json", check)

    def _findings(self) -> dict[str, Any]:
        return {"unauthorized": dict(self._refused), "validators": self._validators.report()}


def read_options(arguments: list[str]) -> tuple[Plan, float, float]:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--validator-cache", type=float, required=True, help="seconds")
    parser.add_argument("--refresh-every", type=float, default=1.0, help="seconds")
    own, others = parser.parse_known_args(arguments)
    return read_plan(others), own.validator_cache, own.refresh_every


async def main() -> int:
    return await RotatingLoad(*read_options(sys.argv[1:])).run()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
