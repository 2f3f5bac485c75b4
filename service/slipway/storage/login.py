"""Where the database is, who we are there, and how it is reached; from a URL or from a folder of a Secret's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from slipway.settings import Settings
from slipway.settings.production import is_demo_secret
from slipway.storage.files import Files, FilesError, read_folder
from slipway.urls.database_url import (
    MEMBERS,
    TlsMode,
    completed,
    keywords_of_members,
    keywords_of_url,
    mode_of,
    strongest,
)
from slipway.urls.server_url import UrlError, is_port

NEEDED = {"host": "host", "dbname": "database", "user": "username"}
"""What isn't guessed, by libpq's keywords and by the names that people are told."""

SYSTEM = "system"
"""As `sslrootcert`: the system's own authorities, and the host name checked, as libpq has it."""


class LoginError(FilesError):
    """The URL or the files don't make a login; the message says what is missing, never the password."""


@dataclass(frozen=True, slots=True)
class Login:
    """A database login. `host` is a name, an address, or the folder of a Unix socket.

    What follows the password is what was asked of the connection; None or empty where nothing was.
    `connect_timeout` in seconds.
    """

    host: str
    port: int
    database: str
    username: str
    password: SecretStr
    tls: TlsMode | None = None
    authority: str = ""
    connect_timeout: float | None = None
    server_settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_url(cls, url: str) -> Login:
        """Read `postgresql://user:password@host:port/name` with libpq's parameters. Raises LoginError."""
        try:
            return cls._from_keywords(keywords_of_url(url))
        except UrlError as error:
            raise LoginError(f"The database URL {error}.") from None

    @classmethod
    def from_contents(cls, files: Files, url: str = "") -> Login:
        """Understand a Secret's files: `uri`, single members, or both. What they leave out, `url` says.

        Raises LoginError.
        """
        members = {name: _text(files, name) for name in (*MEMBERS, "uri")}
        try:
            elsewhere = keywords_of_url(url) if url else {}
        except UrlError as error:
            raise LoginError(f"The database URL {error}.") from None
        try:
            found = completed(keywords_of_members(members), elsewhere)
            return cls._from_keywords(found, needs_password=not members["uri"])
        except UrlError as error:
            raise LoginError(f"The folder of database credentials {error}.") from None

    @classmethod
    def _from_keywords(cls, found: Mapping[str, str], *, needs_password: bool = False) -> Login:
        needed = [*NEEDED.items(), *([("password", "password")] if needs_password else [])]
        if missing := [name for keyword, name in needed if not found.get(keyword)]:
            raise UrlError("lacks: " + ", ".join(missing))
        port = found.get("port", "5432")
        if not is_port(port):
            raise UrlError("has a port that is no port number")
        if "," in found["host"]:
            raise UrlError("names several hosts: name one")
        told = [(name, found[name]) for name in ("application_name", "options") if name in found]
        return cls(
            found["host"],
            int(port),
            found["dbname"],
            found["user"],
            SecretStr(found.get("password", "")),
            mode_of(found["sslmode"]) if "sslmode" in found else None,
            found.get("sslrootcert", ""),
            _seconds(found["connect_timeout"]) if "connect_timeout" in found else None,
            tuple(told),
        )


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 3600):  # noqa: PLR2004 - an hour
        raise UrlError("has a connect_timeout that is no number of seconds from 1 to 3600")
    return float(text)


def _text(files: Files, name: str) -> str:
    try:
        return files.get(name, b"").decode("utf-8").strip()
    except UnicodeDecodeError:
        raise LoginError(f"The file {name} of the database credentials is no UTF-8 text.") from None


@dataclass(frozen=True, slots=True)
class Encryption:
    """TLS as it was asked for in the end; `authority`: the CA bundle, None for the system's."""

    mode: TlsMode
    authority: Path | None = None


def encryption_of(settings: Settings, login: Login) -> Encryption:
    """The stronger of what settings and login ask for, never less than either. Raises LoginError.

    With a CA bundle of the login, `require` checks the chain, as in libpq.
    """
    mode = strongest(settings.database_tls, login.tls or "disable")
    if not login.authority:
        return Encryption(mode, settings.database_ca_file)
    bundle = None if login.authority == SYSTEM else Path(login.authority)
    if settings.database_ca_file not in (None, bundle):
        raise LoginError("sslrootcert and SLIPWAY_DATABASE_CA_FILE name two CA bundles: leave one of them out.")
    if mode == "require":
        mode = "verify-ca"
    if mode not in ("verify-ca", "verify-full") or (bundle is None and mode != "verify-full"):
        raise LoginError("sslrootcert checks nothing with this sslmode: add sslmode=verify-full.")
    return Encryption(mode, bundle)


URL_FILE = "database.url"
"""File in the data folder where `slipway run` keeps the service's login while it runs."""


def login_from_contents(settings: Settings, files: Files) -> Login:
    """Understand mounted files, and `database_url` for what they lack; production refuses a demo password too.

    Raises LoginError.
    """
    url = settings.database_url
    login = Login.from_contents(files, url.get_secret_value() if url is not None else "")
    encryption_of(settings, login)
    if settings.production and is_demo_secret(login.password.get_secret_value()):
        raise LoginError("The database credentials carry a demo password; give the service a login of its own.")
    return login


def login_from_settings(settings: Settings) -> Login:
    """The login that the settings name; in development else that of a `slipway run` in the same data folder.

    Raises LoginError, or FilesError when its folder can't be read.
    """
    if settings.database_credentials_dir is not None:
        return login_from_contents(settings, read_folder(settings.database_credentials_dir))
    if settings.database_url is not None:
        login = Login.from_url(settings.database_url.get_secret_value())
        encryption_of(settings, login)
        return login
    if not settings.production:
        try:
            return Login.from_url((settings.data_dir / URL_FILE).read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            pass  # no `slipway run` here
    raise LoginError(
        "No database is configured: set SLIPWAY_DATABASE_URL or SLIPWAY_DATABASE_CREDENTIALS_DIR "
        "(in development: or start `slipway run` in this folder)."
    )
