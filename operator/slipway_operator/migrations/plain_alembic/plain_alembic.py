"""Plans, runs and awaits the migrations of an image that brings plain Alembic and nothing of Slipway.

These files are mounted into the image beside each other. They need Python 3.9 and the Alembic and SQLAlchemy that are
there, and get to the database only through the image's env.py. The ledger and the lock are those of `slipway db`. It
exits with 0, or with another code and the reason in the last line of stdout, whatever ended it. So this file and
plain_output.py import nothing that an image may lack.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

# With PYTHONSAFEPATH, which an image may set, Python doesn't look beside the script. The link is resolved once, so all
# files are of one version of the ConfigMap.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_output import Failure, Output, lacking

MARKED = "--marked"
OLDEST = (3, 9)
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Any of them may be an image's STOPSIGNAL, and the first process of a container is ended by none of itself.


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Such as a command of a newer operator than the files."""
        Output(marked=MARKED in sys.argv).fail(Failure("ArgumentsRefused", message, lasting=True), 2)


def main() -> NoReturn:
    options = parse_arguments()
    output = Output(marked=options.marked)
    faulthandler.enable()  # a driver that crashes leaves at least the line where it did
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)

    def terminated() -> None:
        by = signal.Signals(signal.sigwait(ENDS))
        output.fail(Failure("MigrationFailed", f"It was ended by {by.name}; what was committed stays."), 128 + by)

    threading.Thread(target=terminated, daemon=True).start()
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    try:
        if sys.version_info < OLDEST:
            found = ".".join(map(str, sys.version_info[:2]))
            raise Failure("PythonTooOld", f"The image has Python {found}, and 3.9 is the oldest.", lasting=True)  # noqa: TRY301 - told like all else
        from plain_commands import run  # noqa: PLC0415 - what can't be imported must be told, too

        run(options, output)
    except Failure as failure:
        output.fail(failure)
    except ImportError as error:
        name = lacking(error)
        whose = "script's mount" if name.startswith("plain_") else "image"
        lacks = f"module {name} of Python" if name else "a module of Python"
        message = f"The {whose} lacks {lacks}, or has another version than what imports it needs: put it there."
        output.fail(Failure("ModuleMissing", message, lasting=True))
    except BaseException as error:  # noqa: BLE001 - sys.exit and Ctrl-C end a run, too; a traceback could quote a login
        output.fail(Failure("MigrationFailed", f"It was ended by {type(error).__name__}."))


def parse_arguments() -> argparse.Namespace:
    def expected(value: str) -> tuple[str, str]:
        revision, _, sha256 = value.rpartition(":")
        return revision, sha256

    parser = Parser(description="Migrations of an image that brings plain Alembic.")
    parser.add_argument("command", choices=("plan", "upgrade", "announce", "withdraw", "wait"))
    parser.add_argument("--config", required=True, help="path of alembic.ini")
    parser.add_argument("--phase", choices=("all", "expand"), default="all", help="expand leaves contracts for later")
    parser.add_argument("--expect", type=expected, action="append", default=[], metavar="REVISION:SHA256")
    parser.add_argument(MARKED, action="store_true", help="write lines for the operator")
    parser.add_argument("--literals", action="store_true", help="show the strings of data statements in plans")
    parser.add_argument("--timeout", type=float, help="of wait, in seconds; without it, never")
    for name, seconds in (("patience", 0.0), ("lock-timeout", 3.0), ("statement-timeout", 900.0), ("budget", 3600.0)):
        parser.add_argument(f"--{name}", type=float, default=seconds, help="seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
