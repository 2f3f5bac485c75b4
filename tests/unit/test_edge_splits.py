"""Packet boundaries mean nothing: the same bytes give the same replies, however they are cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.asgi import WholeEdge
from servers.raw_requests import READ, REFUSED, Raw, Seen
from servers.seen import replies_in, seeing_api
from servers.wire import connected, unwrapped
from slipway.settings import Settings


@pytest.fixture(scope="module")
def served() -> tuple[uvicorn.Config, list[Seen]]:
    app, seen = seeing_api()
    edge = WholeEdge(app, Settings()).edge
    return unwrapped(edge), seen


async def _statuses(config: uvicorn.Config, pieces: list[bytes], pauses: list[bool]) -> list[int]:
    wire, protocol = connected(config)
    return [reply.status for reply in replies_in(await wire.deliver(protocol, pieces, pauses))]


@given(data=st.data(), case=st.sampled_from([*READ, *REFUSED]))
@settings(max_examples=300, deadline=None)
def test_packet_boundaries_change_no_reply_and_no_request(
    served: tuple[uvicorn.Config, list[Seen]], data: st.DataObject, case: Raw
) -> None:
    config, seen = served
    seen.clear()
    sent = case.all_sent
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=12)))
    pieces = [sent[start:end] for start, end in pairwise([0, *cuts, len(sent)])]
    pauses = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    assert asyncio.run(_statuses(config, pieces, pauses)) == case.all_statuses
    assert seen == case.all_seen


@pytest.mark.parametrize("case", [*READ, *REFUSED], ids=str)
def test_byte_by_byte_is_no_other_message(served: tuple[uvicorn.Config, list[Seen]], case: Raw) -> None:
    config, seen = served
    seen.clear()
    pieces = [case.all_sent[at : at + 1] for at in range(len(case.all_sent))]
    assert asyncio.run(_statuses(config, pieces, [True] * len(pieces))) == case.all_statuses
    assert seen == case.all_seen
