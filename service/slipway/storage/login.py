"""Where the database is and who we are there; read from a URL or from a folder of Service Binding files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr


class LoginError(ValueError):
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
        parts = urlsplit(url)
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
    def from_files(cls, folder: Path) -> Login:
        """Read Service Binding files; `uri` fills in what has no file of its own. Raises LoginError."""
        values = {name: _file(folder / name) for name in ("host", "port", "database", "username", "password", "uri")}
        if values["uri"] and not all(values[name] for name in ("host", "database", "username", "password")):
            return cls.from_url(values["uri"])
        missing = [name for name in ("host", "database", "username", "password") if not values[name]]
        if missing:
            raise LoginError(f"The database credentials in {folder} lack: {', '.join(missing)}.")
        port = values["port"] or "5432"
        if not port.isdigit():
            raise LoginError(f"The port in {folder}/port is no number.")
        return cls(values["host"], int(port), values["database"], values["username"], SecretStr(values["password"]))


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise LoginError(f"{path} can't be read: {type(error).__name__}.") from None
