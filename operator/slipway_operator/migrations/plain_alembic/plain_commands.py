"""What each command does; it ends the process."""

from __future__ import annotations

import argparse
from typing import NoReturn

from plain_errors import describe
from plain_gate import wait
from plain_image import Image
from plain_output import Failure, Output
from plain_plan import plan
from plain_runner import Runner


def run(options: argparse.Namespace, output: Output) -> NoReturn:
    """Raises Failure; what the image's own code raised, even to end the process, is told by its place."""
    try:
        if options.command in ("upgrade", "announce", "withdraw"):
            output.say("It begins.")  # so that a log without the last line is no empty one
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
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a traceback could quote a login
        raise error if isinstance(error, Failure) else Failure("MigrationFailed", describe(error)) from None
    done = (
        f"Applied: {', '.join(runner.applied) or 'nothing'}. Contracts left: {', '.join(runner.held_back) or 'none'}."
    )
    output.end(0, "done", done, current=",".join(runner.heads), applied=runner.applied, held_back=runner.held_back)
