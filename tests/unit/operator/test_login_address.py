"""Secrets with a login to PostgreSQL, read and written."""

from __future__ import annotations

import pytest

from slipway_operator.logins.address import Address, LoginError, files, login_of, same

HOME = Address("db", 5432, "shop")


def test_what_is_written_is_read_again_by_its_keys_and_by_its_uri() -> None:
    data = files(Address("fd00::1", 6000, "a shop/1"), "shop_a", "secret-Word_1")
    by_uri = login_of({"uri": data["uri"]})
    assert by_uri == login_of(data)
    assert by_uri.address == ("fd00::1", 6000, "a shop/1")
    assert data["uri"] == b"postgresql://shop_a:secret-Word_1@[fd00::1]:6000/a%20shop%2F1"


def test_single_keys_go_before_the_uri_and_the_port_has_a_default() -> None:
    data = {"uri": b"postgresql+asyncpg://admin:p%40ss@db/shop?sslmode=require", "host": b"other\n"}
    found = login_of(data)
    assert (found.address, found.user, found.password) == (Address("other", 5432, "shop"), "admin", "p@ss")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "lacks host, database, username, password"),
        ({"uri": b"postgresql://admin:hidden@db"}, "lacks database"),
        ({"uri": b"mysql://admin:hidden@db/shop"}, "none of PostgreSQL"),
        ({"uri": b"postgresql://admin:hidden@db:hidden/shop"}, "its uri is none"),
        ({"uri": b"postgresql://admin:hidden@[db/shop"}, "its uri is none"),
        ({"uri": b"postgresql://admin:hidden@db/shop", "port": b"99999999999999999999"}, "port"),
        ({"uri": b"postgresql://admin:hidden@db/shop", "password": b"\xff"}, "its password is no text"),
    ],
)
def test_what_is_no_login_is_refused_without_repeating_it(data: dict[str, bytes], said: str) -> None:
    with pytest.raises(LoginError, match=said) as raised:
        login_of(data)
    assert "hidden" not in str(raised.value)


def test_a_login_shows_no_password() -> None:
    assert "hidden" not in repr(login_of(files(HOME, "shop_a", "hidden")))


@pytest.mark.parametrize("host", ["db", "DB.", "db.one", "db.one.svc", "db.one.svc.cluster.local."])
def test_a_service_has_many_names(host: str) -> None:
    assert same(Address(host, 5432, "shop"), HOME, "one")


@pytest.mark.parametrize("other", [HOME._replace(host="db.two"), HOME._replace(port=1), HOME._replace(database="x")])
def test_another_host_port_or_database_is_another(other: Address) -> None:
    assert not same(other, HOME, "one")
