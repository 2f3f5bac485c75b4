"""`slipway`: one command for every process and every task around it."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from slipway.audit.filters import Filters, action_of, moment_of, resource_of
from slipway.http.problems import AppException
from slipway.output import hold_standard_streams
from slipway.settings import Settings
from slipway.settings.sources import SettingsError, load_settings, tell_of_unread_env_file
from slipway.version import VERSION

if TYPE_CHECKING:
    from slipway.telemetry.logs import LineWriter

T = TypeVar("T")

_GROUPS = {
    "db": ("slipway.migrations.cli", "db"),
    "jobs": ("slipway.jobs.cli", "jobs"),
    "logs": ("slipway.logs_cli", "logs"),
}


class _LazyGroup(click.Group):
    """Loads a group's module when it is used: `slipway db wait` needs no web framework."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _GROUPS:
            module, name = _GROUPS[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), name)
            if isinstance(command, click.Group) and cmd_name == "db":
                command.add_command(revision)
            return command
        return super().get_command(ctx, cmd_name)


@click.command()
@click.option("--message", "-m", required=True, help="What it does, in one sentence.")
@click.option("--kind", type=click.Choice(["expand", "contract"]), help="`contract` breaks code of the release before.",
              prompt="Does code of the release before still work after it (expand), or not (contract)?")  # fmt: skip
def revision(message: str, kind: Literal["expand", "contract"]) -> None:
    """Write a revision with what models have and the database lacks. Read it before you run it."""
    from slipway.local.revisions import write_revision  # noqa: PLC0415 - all domains, for this only
    from slipway.migrations.ending import run_command  # noqa: PLC0415

    async def run(settings: Settings) -> None:
        click.echo(f"Written: {await write_revision(settings, message, kind)}")

    run_command(run)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="slipway")
def root() -> None:
    """Users, sessions and items behind an API that may change under load without failing a request."""


def settings_or_exit(**changes: object) -> Settings:
    """Read the settings, or end with every fault on standard error."""
    from slipway.domains import SETTINGS  # noqa: PLC0415 - all domains: not for `db wait`

    try:
        return load_settings(SETTINGS, **changes)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _database_errors() -> tuple[type[Exception], ...]:
    """What talking to a database raises; of these only the kind is told, because their text can quote rows."""
    import asyncpg  # noqa: PLC0415 - not for `slipway settings`
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

    return (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, TimeoutError)


def run_async(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it exists; errors that people can mend end with their sentence, not a traceback."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows

        uvloop.run(main)
    except ImportError:
        asyncio.run(main)
    except AppException as problem:
        raise click.ClickException(
            " ".join([problem.message, *(detail.message for detail in problem.details)])
        ) from None
    except _database_errors() as error:
        from slipway.migrations.errors import describe  # noqa: PLC0415 - only on the way to an error

        raise click.ClickException(f"The database: {describe(error)}.") from None
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@root.command()
@click.option("--reload", is_flag=True, help="Start anew whenever the code changes; for development only.")
def serve(*, reload: bool) -> None:
    """Serve the API (one process; replicas are pods)."""
    settings = settings_or_exit()
    if not reload:
        _serve()
        return
    if settings.production:
        raise click.ClickException("`--reload` is for development; leave it out in production.")
    from slipway.local.reload import serve_with_reload  # noqa: PLC0415

    serve_with_reload(_serve)


def _serve(sockets: list[socket] | None = None) -> None:  # noqa: ARG001 - the reloader passes it; `listen` makes ours
    from slipway.server import serve as serve_api  # noqa: PLC0415

    settings = settings_or_exit()
    run_async(serve_api(settings, _logging(settings)))


@root.command()
def worker() -> None:
    """Run background jobs."""
    from slipway.server import work  # noqa: PLC0415

    settings = settings_or_exit()
    _logging(settings)
    run_async(work(settings))


@root.command()
def run() -> None:
    """Everything in one process on a database of its own, under `.slipway/`: for trying out and for development."""
    from slipway.local.embedded import FolderInUseError  # noqa: PLC0415
    from slipway.local.standalone import (  # noqa: PLC0415
        ended_by_signals,
        migrate_and_serve,
        own_or_given_database,
        run_settings,
    )

    settings = settings_or_exit()
    if settings.production:
        raise click.ClickException("`slipway run` is for development; use `slipway serve` in production.")
    lines = _logging(settings)
    try:
        with ended_by_signals(), own_or_given_database(run_settings(settings)) as (for_migrations, for_service):
            run_async(migrate_and_serve(for_migrations, for_service, lines))
    except FolderInUseError as error:
        raise click.ClickException(str(error)) from None


@root.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; else standard output.")
def openapi(output: Path | None) -> None:
    """Print the OpenAPI document."""
    from slipway.app import openapi_document  # noqa: PLC0415

    settings = settings_or_exit()
    tell_of_unread_env_file(settings)
    text = json.dumps(openapi_document(settings), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@root.command("settings")
@click.option("--env", "as_env_file", is_flag=True, help="As a `.env` with every line commented out.")
def show_settings(*, as_env_file: bool) -> None:
    """Print every setting with its default and meaning, as a Markdown table."""
    from slipway.domains import SETTINGS  # noqa: PLC0415 - as above
    from slipway.settings.table import env_example, settings_table  # noqa: PLC0415

    click.echo(env_example(SETTINGS) if as_env_file else settings_table(SETTINGS), nl=False)


@root.group()
def admin() -> None:
    """Administrators."""


@admin.command("create")
@click.option("--email", required=True)
@click.option(
    "--password-file",
    type=click.File("r"),
    help="File with the password, `-` for standard input; asked for when it is left out.",
)
def create_admin(email: str, password_file: Any) -> None:
    """Make an administrator. The password never goes on the command line."""
    from slipway.administrators_cli import create  # noqa: PLC0415

    password = (
        password_file.read().strip()
        if password_file is not None
        else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    settings = settings_or_exit()
    tell_of_unread_env_file(settings)
    run_async(create(settings, email, password))


@root.group()
def audit() -> None:
    """The audit log."""


def _read(of: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A callback that has `of` read an option. What it refuses is a usage error, with its sentence."""

    def read(_context: click.Context, _parameter: click.Parameter, given: str | None) -> T | None:
        try:
            return None if given is None else of(given)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return read


@audit.command("export")
@click.option("--since", callback=_read(moment_of), help="From then on: a time with its zone, 2026-11-30T03:00:00Z.")
@click.option("--until", callback=_read(moment_of), help="Before then.")
@click.option("--actor", type=click.UUID, help="Who did it: a user's id.")
@click.option("--action", callback=_read(action_of), help="What was done: items.create.")
@click.option("--resource", callback=_read(resource_of), help="With what: items/ID.")
@click.option("--request-id", help="In which request: its X-Request-ID.")
def export_audit(**wanted: Any) -> None:
    """Print the audit log as JSON lines, the oldest first. Without options, all of it."""
    from slipway.audit.export import export  # noqa: PLC0415

    try:
        filters = Filters(**wanted)
    except ValueError as error:
        raise click.UsageError(f"--until {error}.") from None
    settings = settings_or_exit()
    tell_of_unread_env_file(settings)
    run_async(export(settings, filters))


@root.group()
def keys() -> None:
    """Signing keys."""


@keys.command("generate")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--algorithm", type=click.Choice(["EdDSA", "ES256", "RS256"]), default="EdDSA", show_default=True)
def generate_signing_keys(folder: Path, algorithm: Any) -> None:
    """Write a new key set (`jwks.json`, `signing`) into FOLDER, readable by you alone. One that is there stays."""
    from slipway.auth.keys import generate_keys  # noqa: PLC0415

    if (folder / "jwks.json").exists():
        raise click.ClickException(f"{folder} holds a key set already: name another folder.")
    try:
        keys = generate_keys(folder, algorithm)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"{folder} can't be used: {reason}. Name a new folder.") from None
    click.echo(f"{folder}: signs with {keys.signing.id}")


def _logging(settings: Settings) -> LineWriter:
    from slipway.telemetry.logs import configure_logging  # noqa: PLC0415 - not for `db wait`

    lines = configure_logging(settings)
    tell_of_unread_env_file(settings)
    return lines


def main() -> None:
    hold_standard_streams()
    root()
