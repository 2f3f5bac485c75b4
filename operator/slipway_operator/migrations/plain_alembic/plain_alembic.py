"""Plans, runs and awaits the migrations of an image that brings plain Alembic and nothing of Slipway.

These files are mounted into the image beside each other. They need Python 3.9 and the Alembic and SQLAlchemy that are
there, and get to the database only through the image's env.py. The ledger and the lock are those of `slipway db`. It
exits with 0, or with 1 and the reason in the last line of stdout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

# With PYTHONSAFEPATH, which an image may set, Python doesn't look beside the script. The link is resolved once, so all
# files are of one version of the ConfigMap.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_errors import describe
from plain_gate import wait
from plain_image import Image
from plain_output import Failure, Output
from plain_plan import plan
from plain_runner import Runner


def main() -> NoReturn:
    options = parse_arguments()
    output = Output(marked=options.marked)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def terminated() -> None:
        signal.sigwait([signal.SIGTERM])
        output.fail(Failure("MigrationFailed", "It was ended by SIGTERM; what was committed stays."), 143)

    threading.Thread(target=terminated, daemon=True).start()
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    try:
        image = Image(options.config)
        if options.command == "wait":
            wait(image, output, options.timeout)
        message = f"The budget of {options.budget:g} s is used up. What was done stays; run it again."
        output.fail_after(options.budget, "BudgetExceeded", message)
        runner = Runner(image, output, options)
        if options.command == "plan":
            plan(image, runner, output, literals=options.literals)
        if options.command == "upgrade":
            runner.upgrade()
        else:
            runner.alone(runner.announce if options.command == "announce" else runner.withdraw)
    except Failure as failure:
        output.fail(failure)
    except Exception as error:  # noqa: BLE001 - a traceback could quote a login
        output.fail(Failure("MigrationFailed", describe(error)))
    done = (
        f"Applied: {', '.join(runner.applied) or 'nothing'}. Contracts left: {', '.join(runner.held_back) or 'none'}."
    )
    output.end(0, "done", done, current=",".join(runner.heads), applied=runner.applied, held_back=runner.held_back)


def parse_arguments() -> argparse.Namespace:
    def expected(value: str) -> tuple[str, str]:
        revision, _, sha256 = value.rpartition(":")
        return revision, sha256

    parser = argparse.ArgumentParser(description="Migrations of an image that brings plain Alembic.")
    parser.add_argument("command", choices=("plan", "upgrade", "announce", "withdraw", "wait"))
    parser.add_argument("--config", required=True, help="path of alembic.ini")
    parser.add_argument("--phase", choices=("all", "expand"), default="all", help="expand leaves contracts for later")
    parser.add_argument("--expect", type=expected, action="append", default=[], metavar="REVISION:SHA256")
    parser.add_argument("--marked", action="store_true", help="write lines for the operator")
    parser.add_argument("--literals", action="store_true", help="show the strings of data statements in plans")
    parser.add_argument("--timeout", type=float, help="of wait, in seconds; without it, never")
    for name, seconds in (("patience", 0.0), ("lock-timeout", 3.0), ("statement-timeout", 900.0), ("budget", 3600.0)):
        parser.add_argument(f"--{name}", type=float, default=seconds, help="seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
