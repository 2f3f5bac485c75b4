"""Database URLs and Secrets as others write them: taken over whole, or refused by the name of what isn't."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.settings import Settings
from slipway.settings.production import production_faults
from slipway.storage.engine import connect_arguments
from slipway.storage.login import Encryption, Login, LoginError, encryption_of, login_from_settings
from slipway.urls.database_url import keywords_of_url
from slipway.urls.server_url import UrlError

PLAIN = {"host": "db", "dbname": "shop", "user": "app", "password": "s3cret"}
URL = "postgresql://app:s3cret@db/shop"
NOT_TAKEN = [
    "require_auth", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslsni", "sslcertmode", "requirepeer",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib", "gssdelegation", "hostaddr",
    "passfile", "service", "servicefile", "keepalives", "keepalives_idle", "tcp_user_timeout", "replication",
    "scram_client_key", "schema", "pgbouncer", "connection_limit", "statement_timeout", "SSLMODE",
]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        (URL, {}),
        ("postgres://app:s3cret@db/shop", {}),
        ("POSTGRESQL://app:s3cret@db/shop\n", {}),
        ("postgresql+asyncpg://app:s3cret@db/shop", {}),
        ("postgresql+psycopg2://app:s3cret@db:6432/shop", {"port": "6432"}),
        ("postgresql://app:p%40s%2Fs%3F%23@db/shop", {"password": "p@s/s?#"}),
        ("postgresql://app:p@#ss+w@db/shop", {"password": "p@#ss+w"}),
        ("postgresql://app:s3cret@[fd00::1]:6432/shop", {"host": "fd00::1", "port": "6432"}),
        ("postgresql://app:s3cret@[fd00::1]/shop", {"host": "fd00::1"}),
        ("postgresql://app:s3cret@%2Fvar%2Frun/shop", {"host": "/var/run"}),
        ("postgresql://app:s3cret@/shop?host=/var/run", {"host": "/var/run"}),
        ("postgresql:///?host=db&dbname=shop&user=app&password=s3c+ret&port=1", {"password": "s3c+ret", "port": "1"}),
        ("postgresql://app:s3cret@db/shop?host=db", {}),
        ("postgresql://app:s3cret@db/shop?", {}),
        (f"{URL}?ssl%6Dode=verify-full", {"sslmode": "verify-full"}),
        (f"{URL}?ssl=true", {"sslmode": "require"}),
        (f"{URL}?ssl=verify-full", {"sslmode": "verify-full"}),
        (f"{URL}?sslmode=require&channel_binding=prefer&gssencmode=disable", {"sslmode": "require"}),
        (f"{URL}?target_session_attrs=any&load_balance_hosts=disable&sslcompression=0", {}),
        (f"{URL}?sslnegotiation=postgres&client_encoding=UTF8&fallback_application_name=x", {}),
        (f"{URL}?options=-c%20search_path%3Dships", {"options": "-c search_path=ships"}),
        ("postgresql://app:s3cret@db/*", {"dbname": ""}),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(url: str, changed: dict[str, str]) -> None:
    expected = {keyword: value for keyword, value in (PLAIN | changed).items() if value}
    assert keywords_of_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{URL}?channel_binding=require", "channel_binding"),
        (f"{URL}?gssencmode=require", "gssencmode"),
        (f"{URL}?sslnegotiation=direct", "sslnegotiation"),
        (f"{URL}?load_balance_hosts=random", "load_balance_hosts"),
        (f"{URL}?client_encoding=latin1", "client_encoding"),
        *[(f"{URL}?{name}=s3cret", name) for name in NOT_TAKEN],
        (f"{URL}?sslmode=s3cret", "sslmode"),
        (f"{URL}?sslmode=VERIFY-FULL", "sslmode"),
        (f"{URL}?ssl=s3cret", "sslmode"),
        (f"{URL}?sslmode", "sslmode"),
        (f"{URL}?sslmode=", "sslmode"),
        (f"{URL}?sslmode=require&sslmode=disable", "sslmode twice"),
        (f"{URL}?ssl=true&sslmode=require", "sslmode twice"),
        (f"{URL}?connect_timeout=0", "connect_timeout"),
        (f"{URL}?connect_timeout=3601", "connect_timeout"),
        (f"{URL}?connect_timeout=s3cret", "connect_timeout"),
        (f"{URL}?target_session_attrs=read-write", "target_session_attrs"),
        (f"{URL}?password=s3cret2", "password twice"),
        (f"{URL}?user=other", "user twice"),
        (f"{URL}?host=other", "host twice"),
        (f"{URL}?host=/run", "host twice"),
        ("postgresql://app:s3cret@db:5432,db2/shop", "several hosts"),
        ("postgresql://app:s3cret@/shop?host=a,b", "several hosts"),
        ("postgresql://app:s3cret@db:s3cret/shop", "port"),
        ("postgresql://app:s3cret@db:0/shop", "port"),
        ("postgresql://app:s3cret@[fd00::1/shop", "host"),
        ("postgresql://app:s3cret@fd00::1/shop", "host"),
        ("postgresql://app:s3cret%00@db/shop", "zero byte"),
        ("postgresql://app:s3cret/x@db/shop", "percent-encode"),
        ("postgresql://app:s3cret?x@db/shop", "percent-encode"),
        ("postgresql://app:12?s3cret&y=1@db/shop", "a parameter"),
        ("jdbc:postgresql://db/shop?user=app&password=s3cret", "JDBC"),
        ("host=db user=app password=s3cret", "postgresql://"),
        ("mysql://app:s3cret@db/shop", "postgresql://"),
        ("s3cret", "postgresql://"),
        ("", "postgresql://"),
        ("postgresql://", "lacks: host, database, username"),
        ("postgresql://app:s3cret@db", "lacks: database"),
        ("postgresql://db/shop", "lacks: username"),
        ("postgresql://app:s3cret@/shop", "lacks: host"),
    ],
)
def test_what_is_not_taken_is_refused_by_its_name_and_never_by_its_value(url: str, said: str) -> None:
    with pytest.raises(LoginError) as refused:
        Login.from_url(url)
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@given(st.text(), st.text(), st.text(alphabet="&=%@:/?#[]+ab,"))
def test_a_url_of_any_text_is_read_or_refused(user: str, password: str, rest: str) -> None:
    for url in (rest, f"postgresql://{rest}", f"postgresql://{user}:{password}@db/shop?{rest}"):
        try:
            keywords_of_url(url)
        except UrlError as error:
            assert str(error).isprintable()  # noqa: PT017 - most are fine


@pytest.mark.parametrize(
    ("setting", "query", "expected"),
    [
        ("disable", "", ("disable", None)),
        ("disable", "sslmode=disable", ("disable", None)),
        ("disable", "sslmode=allow", ("prefer", None)),
        ("disable", "sslmode=prefer", ("prefer", None)),
        ("disable", "sslmode=require", ("require", None)),
        ("disable", "sslmode=verify-ca", ("verify-ca", None)),
        ("disable", "sslmode=verify-full&sslrootcert=/x", ("verify-full", "/x")),
        ("disable", "sslmode=verify-ca&sslrootcert=/x", ("verify-ca", "/x")),
        ("disable", "sslmode=require&sslrootcert=/x", ("verify-ca", "/x")),
        ("disable", "sslmode=verify-full&sslrootcert=system", ("verify-full", None)),
        ("require", "sslmode=disable", ("require", None)),
        ("require", "sslmode=verify-full", ("verify-full", None)),
        ("verify-full", "sslmode=disable", ("verify-full", None)),
        ("verify-full", "sslmode=require", ("verify-full", None)),
        ("verify-full", "sslrootcert=/x", ("verify-full", "/x")),
        ("verify-full", "", ("verify-full", None)),
    ],
)
def test_the_stronger_of_setting_and_url_counts(setting: str, query: str, expected: tuple[str, str | None]) -> None:
    settings = Settings(database_url=f"{URL}?{query}", database_tls=setting)  # type: ignore[arg-type]
    mode, bundle = expected
    wanted = Encryption(mode, Path(bundle) if bundle else None)  # type: ignore[arg-type]
    assert encryption_of(settings, login_from_settings(settings)) == wanted


@pytest.mark.parametrize(
    ("settings", "query", "said"),
    [
        ({}, "sslrootcert=/x", "sslrootcert checks nothing"),
        ({}, "sslmode=prefer&sslrootcert=/x", "sslrootcert checks nothing"),
        ({}, "sslmode=require&sslrootcert=system", "sslrootcert checks nothing"),
        ({"database_ca_file": "/y"}, "sslmode=verify-full&sslrootcert=/x", "SLIPWAY_DATABASE_CA_FILE"),
        ({"database_ca_file": "/y"}, "sslmode=verify-full&sslrootcert=system", "SLIPWAY_DATABASE_CA_FILE"),
    ],
)
def test_a_ca_that_would_check_nothing_is_refused(settings: dict[str, str], query: str, said: str) -> None:
    with pytest.raises(LoginError, match=said):
        login_from_settings(Settings(database_url=f"{URL}?{query}", **settings))  # type: ignore[arg-type]


def test_what_a_url_asks_of_the_connection_is_asked() -> None:
    settings = Settings()
    login = Login.from_url(f"{URL}?connect_timeout=7&application_name=shop&options=-cx%3D1")
    arguments = connect_arguments(settings, login, application_name="slipway", statement_timeout="1")
    assert arguments["timeout"] == 7
    assert arguments["server_settings"] == {"application_name": "shop", "options": "-cx=1", "statement_timeout": "1"}
    assert [Login.from_url(f"{URL}?connect_timeout={seconds}").connect_timeout for seconds in (1, 3600)] == [1, 3600]
    plain = connect_arguments(settings, Login.from_url(URL), application_name="slipway")
    assert (plain["timeout"], plain["server_settings"]) == (3, {"application_name": "slipway"})


CLOUDNATIVEPG = {
    "username": "app", "user": "app", "password": "s3cret", "dbname": "shop", "host": "pg-rw", "port": "5432",
    "pgpass": "pg-rw:5432:shop:app:s3cret\n", "uri": "postgresql://app:s3cret@pg-rw.ships:5432/shop",
    "jdbc-uri": "jdbc:postgresql://pg-rw.ships:5432/shop?password=s3cret&user=app",
    "fqdn-uri": "postgresql://app:s3cret@pg-rw.ships.svc.cluster.local:5432/shop",
}  # fmt: skip
CRUNCHY = {
    "user": "app", "password": "s3cret", "verifier": "SCRAM-SHA-256$4096:x", "dbname": "shop", "port": "5432",
    "host": "pg-primary.ships.svc", "uri": "postgresql://app:s3cret@pg-primary.ships.svc:5432/shop",
    "pgbouncer-host": "pg-pgbouncer.ships.svc", "pgbouncer-port": "5432",
}  # fmt: skip
RDS = {
    "engine": "postgres", "host": "pg.rds.example", "username": "app", "password": "s3cret", "dbname": "shop",
    "port": "5432", "dbInstanceIdentifier": "pg",
}  # fmt: skip
BINDING = {"host": "db", "port": "5432", "database": "shop", "username": "app", "password": "s3cret"}
ZALANDO = {"username": "app", "password": "s3cret"}
ADDRESS = "postgresql://db.ships/shop?sslmode=require"


def _contents(members: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in members.items()}


@pytest.mark.parametrize(
    ("members", "url", "host"),
    [
        (CLOUDNATIVEPG, "", "pg-rw.ships"),
        (CRUNCHY, "", "pg-primary.ships.svc"),
        (RDS, "", "pg.rds.example"),
        (BINDING, "", "db"),
        ({"uri": URL}, "", "db"),
        ({"uri": "postgres://app@db:5432/shop", "password": "s3cret"}, "", "db"),
        (ZALANDO, ADDRESS, "db.ships"),
        ({"password": "s3cret"}, "postgresql://app@db/shop", "db"),
        ({**BINDING, "host": "other", "port": ""}, "postgresql://db:6432/shop", "other"),
        ({**CLOUDNATIVEPG, "dbname": "*", "uri": "postgresql://app:s3cret@pg-rw.ships:5432/*"}, ADDRESS, "pg-rw.ships"),
    ],
)
def test_the_secrets_of_others_make_a_login(members: dict[str, str], url: str, host: str) -> None:
    login = Login.from_contents(_contents(members), url)
    assert (login.host, login.port, login.database, login.username) == (host, 5432, "shop", "app")
    assert login.password.get_secret_value() == "s3cret"
    assert login.tls == ("require" if "sslmode" in url else None)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({**BINDING, "uri": "postgresql://app:s3cret2@db/shop"}, "password and uri say different things"),
        ({**BINDING, "uri": "postgresql://other:s3cret@db/shop"}, "username and uri"),
        ({**BINDING, "uri": "postgresql://app:s3cret@elsewhere/shop"}, "host and uri"),
        ({**BINDING, "uri": "postgresql://app:s3cret@db:6432/shop"}, "port and uri"),
        ({**BINDING, "port": "6432", "uri": URL}, "port and uri"),
        ({**BINDING, "uri": "postgresql://app:s3cret@db/other"}, "database and uri"),
        ({**BINDING, "dbname": "other"}, "database and dbname"),
        ({**BINDING, "user": "other"}, "username and user"),
        ({**BINDING, "uri": f"{URL}?require_auth=scram-sha-256"}, "require_auth"),
        ({**BINDING, "uri": "jdbc:postgresql://db/shop"}, "JDBC"),
        ({**BINDING, "sslmode": "s3cret"}, "sslmode"),
        ({**BINDING, "host": "a,b"}, "several hosts"),
        (ZALANDO, "lacks: host, database"),
        ({**CLOUDNATIVEPG, "dbname": "*", "uri": ""}, "lacks: database"),
        ({"host": "db", "dbname": "shop", "username": "app"}, "lacks: password"),
    ],
)
def test_a_secret_that_lacks_or_contradicts_is_told_by_its_members(members: dict[str, str], said: str) -> None:
    with pytest.raises(LoginError) as refused:
        Login.from_contents(_contents(members))
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("member", "uri", "url", "mode"),
    [
        ("verify-full", "", "", "verify-full"),
        ("disable", "?sslmode=require", "", "require"),
        ("verify-ca", "?sslmode=require", "", "verify-ca"),
        ("", "?sslmode=prefer", "?sslmode=verify-full", "verify-full"),
        ("", "?sslmode=verify-full", "?sslmode=disable", "verify-full"),
    ],
)
def test_no_part_of_a_secret_weakens_what_another_says(member: str, uri: str, url: str, mode: str) -> None:
    members = {"uri": URL + uri, "sslmode": member}
    assert Login.from_contents(_contents(members), f"postgresql://db/shop{url}").tls == mode


def test_a_demo_password_hides_in_no_parameter() -> None:
    settings = Settings(environment="production", database_url="postgresql://app@db/shop?password=changeme")  # type: ignore[arg-type]
    assert "SLIPWAY_DATABASE_URL carries a demo password; give the service a login of its own." in production_faults(
        settings
    )


def test_a_login_shows_no_password() -> None:
    assert "s3cret" not in repr(Login.from_contents(_contents(CLOUDNATIVEPG)))
