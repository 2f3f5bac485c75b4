"""How a command ends: by itself, by SIGTERM, by an error; told as one line, to people or as a marked one."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Awaitable, Callable

import click

from slipway.migrations.errors import DATABASE_ERRORS, LASTING, MigrationError, describe, reason_of
from slipway.migrations.marked import failed_line
from slipway.output import tell
from slipway.settings import Settings
from slipway.settings.sources import SettingsError, load_settings, tell_of_unread_env_file
from slipway.storage.files import FilesError

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as a shell would give it."""

Command = Callable[[Settings], Awaitable[None]]


def run_command(command: Command, *, marked: bool = False, **changes: object) -> None:
    """Run a command with settings from the environment; what it raises becomes one line and exit code 1."""
    if marked:
        _run_marked(command, changes)
        return
    try:
        asyncio.run(_until_terminated(command, changes))
    except (MigrationError, SettingsError, FilesError) as error:
        raise click.ClickException(str(error)) from None
    except DATABASE_ERRORS as error:
        raise click.ClickException(f"The database: {describe(error)}.") from None
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED) from None


def _run_marked(command: Command, changes: dict[str, object]) -> None:
    """As above; the last line is always a marked one, whatever happened."""
    try:
        asyncio.run(_until_terminated(command, changes))
    except asyncio.CancelledError:
        _fail("MigrationFailed", "The run was ended by SIGTERM; what was done stays.", lasting=False, code=TERMINATED)
    except BaseException as error:  # noqa: BLE001 - who reads the marked lines must always learn the end
        reason = reason_of(error)
        message = _sentence(error)
        if not isinstance(error, (MigrationError, SettingsError, FilesError, *DATABASE_ERRORS)):
            # Where it happened, but neither the error's words nor the lines of code: both may quote values.
            for frame in traceback.extract_tb(error.__traceback__):
                click.echo(f"  {frame.filename}:{frame.lineno} in {frame.name}", err=True)
        _fail(reason, message, lasting=reason in LASTING)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MigrationError | SettingsError | FilesError):
        return str(error)
    if isinstance(error, DATABASE_ERRORS):
        return f"The database: {describe(error)}."
    return f"Unexpected {type(error).__name__}; the lines before this one say where."


def _fail(reason: str, message: str, *, lasting: bool, code: int = 1) -> None:
    tell(failed_line(reason, message, lasting=lasting))
    raise SystemExit(code) from None


async def _until_terminated(command: Command, changes: dict[str, object]) -> None:
    """SIGTERM rolls back and ends; without a handler, the first process of a container wouldn't even notice it."""
    settings = load_settings(Settings, **changes)
    tell_of_unread_env_file(settings)
    task = asyncio.ensure_future(command(settings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task
