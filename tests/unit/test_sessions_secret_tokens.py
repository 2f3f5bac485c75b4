"""Opaque tokens, their seals, and the names that back-off counts under."""

from __future__ import annotations

import pytest

from slipway.sessions.secret_tokens import hash_token, new_token, open_successor, seal_successor
from slipway.sessions.throttle import hash_key, network_of


def test_a_token_is_256_random_bits_and_its_hash_is_something_else() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
    assert {len(hash_token(token)) for token in tokens} == {32}


def test_a_sealed_successor_opens_with_the_token_it_was_sealed_with_and_no_other() -> None:
    token, successor = new_token(), new_token()
    sealed = seal_successor(token, successor)
    assert successor.encode() not in sealed
    assert open_successor(token, sealed) == successor
    assert open_successor(new_token(), sealed) is None
    assert open_successor(token, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    assert open_successor(token, b"") is None


def test_a_seal_is_never_the_same_twice() -> None:
    token, successor = new_token(), new_token()
    assert seal_successor(token, successor) != seal_successor(token, successor)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_counters_do_not_hold_what_was_typed_and_do_not_mix() -> None:
    assert b"ada" not in hash_key("login", "account", "ada@example.com")
    assert (
        len({hash_key("login", "account", "x"), hash_key("login", "address", "x"), hash_key("reset", "account", "x")})
        == 3
    )
    assert len(hash_key("login", "account", "\ud800")) == 32
