"""Kept-alive connections of the load generator. No cluster is needed."""

from __future__ import annotations

from load.connections import Connection, Pool
from load.faulty import FaultySlipway
from load.requests import Request

REQUEST = Request("me", "GET", "/api/v1/users/me", lambda _: None).encode("slipway", "token")


async def used(pool: Pool, connection: Connection) -> None:
    reply = await connection.exchange(REQUEST)
    pool.give_back(connection, keep=reply.keep)


async def test_kept_alive_connections_are_used_in_turn() -> None:
    slipway = FaultySlipway()
    async with slipway.listening():
        pool = Pool(("127.0.0.1", slipway.port), 5)
        for _ in range(20):
            await used(pool, pool.take() or await pool.open())
        pool.close()
    assert [request.connection for request in slipway.seen] == [1, 2, 3, 4, 5] * 4
    assert (pool.opened, pool.reused, pool.found_closed) == (5, 15, 0)


async def test_more_than_wanted_are_opened_only_while_all_are_busy() -> None:
    slipway = FaultySlipway()
    async with slipway.listening():
        pool = Pool(("127.0.0.1", slipway.port), 1)
        assert pool.take() is None
        first = await pool.open()
        assert pool.take() is None
        second = await pool.open()
        await used(pool, first)
        await used(pool, second)
        assert pool.take() is not None
        pool.close()
    assert (pool.opened, pool.reused) == (2, 1)
