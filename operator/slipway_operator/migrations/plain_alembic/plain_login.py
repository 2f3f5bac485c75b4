"""The owner's login, as Secrets of many kinds write it, for the driver that the image has."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from alembic.config import Config
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from plain_errors import DRIVERS
from plain_output import Failure

CREDENTIALS, ADDRESS = "SLIPWAY_DATABASE_CREDENTIALS_DIR", "SLIPWAY_DATABASE_URL"
MEMBERS = {
    "host": "host", "port": "port", "database": "dbname", "dbname": "dbname", "username": "user", "user": "user",
    "password": "password", "sslmode": "sslmode",
}  # fmt: skip
"""libpq's keywords by the members that others name."""
PLACE = ("host", "port", "dbname", "user", "password")
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")  # each stronger than those before it
WEAKEST = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "sslnegotiation": ("postgres",),
    "target_session_attrs": ("any",),
}
"""What asyncpg needn't be told, because it asks for nothing."""


def read_login(folder: str | None, config: Config) -> URL | None:
    """The login in a folder of a Secret's files, for the driver that alembic.ini names; None without a folder.

    What the files don't say comes from the variable with an address, if there is one, and parameters from alembic.ini's
    own URL, too; of several sslmode the strongest counts. Raises Failure, which never repeats a value.
    """
    if not folder:
        return None
    files = {name: Path(folder, name) for name in (*MEMBERS, "uri")}
    texts = {name: path.read_text("utf-8").strip() if path.is_file() else "" for name, path in files.items()}
    driver = next((url for module, url in DRIVERS.items() if importlib.util.find_spec(module)), "postgresql")
    own: dict[str, str] = {}
    with contextlib.suppress(Exception):  # a placeholder, or an interpolation that only env.py knows
        url = make_url(config.get_main_option("sqlalchemy.url") or "")
        if url.drivername.startswith("postgresql"):
            driver, own = url.drivername, _keywords(url)
    found = _of_members(texts)
    _complete(found, _of_url(os.environ.get(ADDRESS, ""), f"The address in {ADDRESS}"))
    if not (found.get("dbname") and found.get("user") and (found.get("host") or texts["uri"])):
        raise _refused("The Secret of the owner's login lacks host, database, username or password, and uri")
    if not (texts["uri"] or found.get("password")):
        raise _refused("The Secret of the owner's login lacks password")
    _complete(found, {name: value for name, value in own.items() if name not in PLACE})
    return _for_driver(driver, found)


def _refused(sentence: str) -> Failure:
    return Failure("LoginRefused", f"{sentence}.")


def _of_url(text: str, where: str) -> dict[str, str]:
    try:
        url = make_url(text) if text else None
    except (SQLAlchemyError, ValueError):
        raise _refused(f"{where} is none that can be read") from None  # its message may quote the password
    if url is not None and not url.drivername.startswith("postgres"):
        raise _refused(f"{where} is none of PostgreSQL")
    found = _keywords(url) if url is not None else {}
    if "," in found.get("host", ""):
        raise _refused(f"{where} names several hosts: name one")
    return found


def _keywords(url: URL) -> dict[str, str]:
    given = {"host": url.host, "port": url.port, "dbname": url.database, "user": url.username, "password": url.password}
    found = {name: str(value) for name, value in given.items() if value}
    for name, value in url.query.items():
        if not isinstance(value, str):
            raise _refused(f"A URL of the login says {name} twice")
        keyword = "sslmode" if name == "ssl" else name
        said = {"true": "require", "false": "disable"}.get(value, value) if name == "ssl" else value
        if found.setdefault(keyword, said) != said:
            raise _refused(f"A URL of the login says {keyword} twice, each time something else")
    return {name: value for name, value in found.items() if (name, value) != ("dbname", "*")}


def _of_members(texts: Mapping[str, str]) -> dict[str, str]:
    told = [(MEMBERS[name], texts[name], name) for name in MEMBERS if texts[name]]
    written = _of_url(texts["uri"], "The uri in the Secret of the owner's login")
    if "host" in written:
        written.setdefault("port", "5432")
    found: dict[str, str] = {}
    by: dict[str, str] = {}
    for keyword, value, name in [*told, *((keyword, value, "uri") for keyword, value in written.items())]:
        if (keyword, value) == ("dbname", "*"):  # as CloudNativePG writes it for its superuser
            continue
        by.setdefault(keyword, name)
        earlier = found.setdefault(keyword, value)
        if keyword == "sslmode":
            found[keyword] = _stronger(earlier, value)
        elif earlier != value and not (keyword == "host" and _same_host(earlier, value)):
            raise _refused(f"In the Secret of the owner's login {by[keyword]} and {name} say different things")
    return found


def _same_host(one: str, other: str) -> bool:
    short, long = sorted((one.lower().rstrip("."), other.lower().rstrip(".")), key=len)
    return short == long or long.startswith(f"{short}.")


def _stronger(one: str, other: str) -> str:
    if one not in MODES or other not in MODES:
        raise _refused(f"A sslmode of the login is none of {', '.join(MODES)}")
    return max(one, other, key=MODES.index)


def _complete(found: dict[str, str], others: Mapping[str, str]) -> None:
    """A port belongs to its host; TLS is the stronger."""
    at_home = "host" in found
    for keyword, value in others.items():
        if keyword == "sslmode" and keyword in found:
            found[keyword] = _stronger(found[keyword], value)
        elif keyword != "port" or not at_home:
            found.setdefault(keyword, value)


def _for_driver(driver: str, found: dict[str, str]) -> URL:
    place = {name: found.pop(name, "") for name in PLACE}
    if not place["port"].isdecimal() and place["port"]:
        raise _refused("The port in the Secret of the owner's login is no number")
    if driver.endswith("+asyncpg"):
        found = _for_asyncpg(found)
    socket = place["host"].startswith("/")
    if socket:
        found["host"] = place["host"]
    return URL.create(
        driver,
        place["user"],
        place["password"] or None,
        None if socket or not place["host"] else place["host"],
        None if socket else int(place["port"] or 5432),
        place["dbname"],
        found,
    )


def _for_asyncpg(found: Mapping[str, str]) -> dict[str, str]:
    """Libpq's parameters, as far as SQLAlchemy hands them on to asyncpg. Raises Failure for the others."""
    query: dict[str, str] = {}
    for name, value in found.items():
        if name == "sslmode":
            query["ssl"] = value
        elif name == "sslrootcert" and found.get("sslmode") in ("verify-ca", "verify-full"):
            os.environ["PGSSLROOTCERT"] = value  # asyncpg looks for it there
        elif name.startswith("prepared_statement"):
            query[name] = value  # SQLAlchemy's own
        elif value not in WEAKEST.get(name, ()):
            raise _refused(f"The login's URL has the parameter {name}, which asyncpg doesn't take: leave it out")
    return query
