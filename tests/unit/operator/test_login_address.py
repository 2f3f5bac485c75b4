"""Secrets with a login to PostgreSQL, read and written."""

from __future__ import annotations

import pytest

from slipway_operator.logins.address import Address, files, login_of, reached_at, same
from slipway_operator.logins.keywords import LoginError

HOME = Address("db", 5432, "shop")


def test_what_is_written_is_read_again_by_its_keys_and_by_its_uri() -> None:
    data = files(Address("fd00::1", 6000, "a shop/1"), "shop_a", "secret-Word_1")
    by_uri = login_of({"uri": data["uri"]})
    assert by_uri == login_of(data)
    assert by_uri.address == ("fd00::1", 6000, "a shop/1")
    assert data["uri"] == b"postgresql://shop_a:secret-Word_1@[fd00::1]:6000/a%20shop%2F1"


def test_single_keys_and_a_uri_complete_each_other_and_the_port_has_a_default() -> None:
    data = {"uri": b"postgresql+asyncpg://admin@db.ships.svc/shop", "host": b"db\n", "password": b"p@ss"}
    found = login_of(data)
    assert (found.address, found.user, found.password) == (Address("db", 5432, "shop"), "admin", "p@ss")


CLOUDNATIVEPG = {
    "username": b"app", "user": b"app", "password": b"hidden", "dbname": b"shop", "host": b"pg-rw", "port": b"5432",
    "uri": b"postgresql://app:hidden@pg-rw.ships:5432/shop", "jdbc-uri": b"jdbc:postgresql://pg-rw/shop",
}  # fmt: skip
CRUNCHY = {
    "user": b"app", "password": b"hidden", "dbname": b"shop", "host": b"pg.ships.svc", "port": b"5432",
    "uri": b"postgresql://app:hidden@pg.ships.svc:5432/shop", "verifier": b"SCRAM-SHA-256$4096:\xff",
}  # fmt: skip
RDS = {"host": b"pg", "username": b"app", "password": b"hidden", "dbname": b"shop", "engine": b"postgres"}


@pytest.mark.parametrize("data", [CLOUDNATIVEPG, CRUNCHY, RDS, {"uri": CLOUDNATIVEPG["uri"]}])
def test_the_secrets_of_others_are_read(data: dict[str, bytes]) -> None:
    found = login_of(data)
    assert found.address in ((host, 5432, "shop") for host in ("pg-rw", "pg-rw.ships", "pg.ships.svc", "pg"))
    assert (found.user, found.password, found.sslmode) == ("app", "hidden", "prefer")


@pytest.mark.parametrize(
    ("query", "others", "sslmode"),
    [
        ("", {}, "prefer"),
        ("?sslmode=disable", {}, "prefer"),
        ("?sslmode=require", {}, "require"),
        ("?ssl=true", {}, "require"),
        ("?sslmode=verify-ca", {}, "verify-ca"),
        ("?sslmode=verify-full", {}, "verify-full"),
        ("?sslmode=verify-full&sslrootcert=system", {}, "verify-full"),
        ("?sslmode=require", {"sslmode": b"verify-full"}, "verify-full"),
        ("?sslmode=verify-full", {"sslmode": b"disable"}, "verify-full"),
        ("?sslmode=require&sslrootcert=/x", {"ca.crt": b"PEM"}, "verify-full"),
        ("", {"ca.crt": b"PEM"}, "verify-full"),
    ],
)
def test_tls_is_never_less_than_was_written(query: str, others: dict[str, bytes], sslmode: str) -> None:
    assert login_of({"uri": b"postgresql://a:b@db/shop" + query.encode(), **others}).sslmode == sslmode


ZALANDO = {"username": b"app", "password": b"hidden"}


@pytest.mark.parametrize(
    ("data", "address", "found", "sslmode"),
    [
        (ZALANDO, "postgresql://db/shop", HOME, "prefer"),
        (ZALANDO, "postgresql://db:6432/shop?sslmode=require", HOME._replace(port=6432), "require"),
        ({**ZALANDO, "port": b"65535"}, "postgresql://db:6432/shop", HOME._replace(port=65535), "prefer"),
        ({**RDS, "host": b"db"}, "postgresql://other:6432/other?sslmode=verify-full", HOME, "verify-full"),
        ({**ZALANDO, "sslmode": b"verify-full"}, "postgresql://db/shop?sslmode=require", HOME, "verify-full"),
        ({**RDS, "host": b"db", "dbname": b"*"}, "postgresql://db/shop", HOME, "prefer"),
    ],
)
def test_an_address_says_what_a_secret_lacks_and_weakens_nothing(
    data: dict[str, bytes], address: str, found: Address, sslmode: str
) -> None:
    login = login_of(data, address)
    assert (login.address, login.user, login.password, login.sslmode) == (found, "app", "hidden", sslmode)


@pytest.mark.parametrize("address", ["mysql://db/shop", "postgresql://a,b/shop", "postgresql://db/shop?sslcert=/x"])
def test_an_address_that_can_not_be_used_is_told_as_such(address: str) -> None:
    with pytest.raises(LoginError, match="its address "):
        login_of(ZALANDO, address)


def test_other_parameters_of_a_uri_are_taken_over() -> None:
    found = login_of({"uri": b"postgres://a:b@db/shop?connect_timeout=2&application_name=x&options=-c%20role%3Dy"})
    assert (found.connect_seconds, found.settings) == (2, (("application_name", "x"), ("options", "-c role=y")))
    by_parameters = login_of({"uri": b"postgresql:///shop?host=db&user=a&password=b+c&gssencmode=disable"})
    assert (by_parameters.address, by_parameters.password) == (HOME, "b+c")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "lacks host, database, username, password"),
        ({"uri": b"postgresql://admin:hidden@db"}, "lacks database"),
        ({"uri": b"mysql://admin:hidden@db/shop"}, "none of PostgreSQL"),
        ({"uri": b"postgresql://admin:hidden@db:hidden/shop"}, "port"),
        ({"uri": b"postgresql://admin:hidden@[db/shop"}, "its uri is none"),
        ({"uri": b"postgresql://admin:hidden@db:99999999999999999999/shop"}, "port"),
        ({"uri": b"postgresql://admin:hidden@db:65536/shop"}, "its port"),
        ({"uri": b"postgresql://admin:hidden@db/shop", "port": b"6432"}, "its port and its uri say different"),
        ({**RDS, "uri": b"postgresql://app:hidden2@pg/shop"}, "its password and its uri say different"),
        ({**RDS, "database": b"other"}, "its database and its dbname say different"),
        ({**CLOUDNATIVEPG, "dbname": b"*", "uri": b"postgresql://app:hidden@pg-rw.ships:5432/*"}, "lacks database"),
        ({"username": b"app", "password": b"hidden"}, "lacks host, database"),
        ({"uri": b"postgresql://a:hidden@db,db2/shop"}, "several hosts"),
        ({"uri": b"postgresql://a:hidden@db:1,db2:2/shop"}, "several hosts"),
        ({**RDS, "host": b"a,b"}, "a list"),
        ({"uri": b"jdbc:postgresql://db/shop?password=hidden"}, "JDBC"),
        ({"uri": b"postgresql://a:hidden@db/shop?sslmode=hidden"}, "sslmode is none"),
        ({"uri": b"postgresql://a:hidden@db/shop?sslmode=require&sslmode=disable"}, "says sslmode twice"),
        ({"uri": b"postgresql://a:hidden@db/shop?user=b"}, "says user twice"),
        ({"uri": b"postgresql://a:hidden@db/shop?sslmode=verify-full&sslrootcert=/hidden"}, "into ca.crt"),
        ({"uri": b"postgresql://a:hidden@db/shop?channel_binding=require"}, "channel_binding"),
        ({"uri": b"postgresql://a:hidden@db/shop?require_auth=hidden"}, "require_auth"),
        ({"uri": b"postgresql://a:hidden@db/shop?sslcert=hidden"}, "sslcert"),
        ({"uri": b"postgresql://a:hidden@db/shop?connect_timeout=0"}, "connect_timeout"),
        ({"uri": b"postgresql://a:hidden@db/shop?options"}, "options without a value"),
        ({"uri": b"postgresql://a:x?hidden=1@db/shop"}, "by a parameter"),
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


@pytest.mark.parametrize(
    ("host", "own", "name"),
    [
        ("postgres", "operators", "postgres.shop.svc"),
        ("postgres", "shop", ""),
        ("postgres", "", ""),
        ("postgres.data", "operators", ""),
        ("db.example.com", "operators", ""),
        ("10.0.0.7", "operators", ""),
        ("2001:db8::7", "operators", ""),
        ("localhost", "operators", ""),
    ],
)
def test_a_bare_name_is_a_service_of_the_secrets_namespace_wherever_the_operator_is(
    host: str, own: str, name: str
) -> None:
    assert reached_at(host, "shop", own) == name
