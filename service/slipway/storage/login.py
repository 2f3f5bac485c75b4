"""Where the database is and who we are there; read from a URL or from a folder of Service Binding files."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from slipway.settings import Settings
from slipway.settings_production import is_demo_secret
from slipway.storage.files import Files, FilesError, read_folder


class LoginError(FilesError):
    """The URL or the files don't make a login; the message says what is missing, never the password."""


@dataclass(frozen=True, slots=True)
class Login:
    """A database login. `host` is a name, an address, or the folder of a Unix socket."""

    host: str
    port: int
    database: str
    username: str
    password: SecretStr

    @classmethod
    def from_url(cls, url: str) -> Login:
        """Read `postgresql://user:password@host:port/name`; `?host=/folder` names a Unix socket."""
        try:
            parts = urlsplit(url)
        except ValueError:
            # Python's own message can quote the password.
            raise LoginError("The database URL is no URL.") from None
        if parts.scheme not in {"postgresql", "postgres"}:
            raise LoginError("The database URL must start with postgresql://.")
        host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
        database = unquote(parts.path.removeprefix("/"))
        try:
            port = parts.port or 5432
        except ValueError:
            raise LoginError("The database URL has a port that is no number.") from None
        missing = [name for name, value in (("host", host), ("user", parts.username), ("name", database)) if not value]
        if missing:
            raise LoginError(f"The database URL lacks: {', '.join(missing)}.")
        return cls(host, port, database, unquote(parts.username or ""), SecretStr(unquote(parts.password or "")))

    @classmethod
    def from_contents(cls, files: Files) -> Login:
        """Understand Service Binding files; `uri` is used when one of the others is missing. Raises LoginError."""
        values = {name: _text(files, name) for name in ("host", "port", "database", "username", "password", "uri")}
        missing = [name for name in ("host", "database", "username", "password") if not values[name]]
        if missing and values["uri"]:
            return cls.from_url(values["uri"])
        if missing:
            raise LoginError(f"The database credentials lack: {', '.join(missing)}.")
        port = values["port"] or "5432"
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004 - what a port may be
            raise LoginError("The port of the database credentials is no port number.")
        return cls(values["host"], int(port), values["database"], values["username"], SecretStr(values["password"]))


def _text(files: Files, name: str) -> str:
    try:
        return files.get(name, b"").decode("utf-8").strip()
    except UnicodeDecodeError:
        raise LoginError(f"The file {name} of the database credentials is no UTF-8 text.") from None


URL_FILE = "database.url"
"""File in the data folder where `slipway run` keeps the service's login while it runs."""


def login_from_contents(settings: Settings, files: Files) -> Login:
    """Understand mounted Service Binding files; production refuses a demo password too. Raises LoginError."""
    login = Login.from_contents(files)
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
        return Login.from_url(settings.database_url.get_secret_value())
    if not settings.production:
        try:
            return Login.from_url((settings.data_dir / URL_FILE).read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            pass  # no `slipway run` here
    raise LoginError(
        "No database is configured: set SLIPWAY_DATABASE_URL or SLIPWAY_DATABASE_CREDENTIALS_DIR "
        "(in development: or start `slipway run` in this folder)."
    )
