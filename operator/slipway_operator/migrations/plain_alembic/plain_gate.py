"""Lets pods start once the schema has what their image needs."""

from __future__ import annotations

import random
from time import monotonic, sleep
from typing import Any, NoReturn

from plain_database import read_rows
from plain_decisions import Row, decide_gate
from plain_errors import describe, is_of_database
from plain_image import Image
from plain_output import Failure, Output

LOOK_LIMIT, TELL_AGAIN = 60.0, 30.0  # seconds


def wait(image: Image, output: Output, timeout: float | None) -> NoReturn:
    """Look until the gate is open. Whatever is wrong with the database is only waited for."""
    end, said, told, pause = monotonic() + (timeout or float("inf")), "", 0.0, 0.25
    rows: list[tuple[Row, ...] | None] = [None]

    def work(context: Any) -> str:
        rows[0] = read_rows(context.connection)
        return ""

    while True:
        timer = output.fail_after(
            LOOK_LIMIT, "DatabaseUnreachable", f"The database gave no answer in {LOOK_LIMIT:g} s."
        )
        try:
            image.run(work)
            verdict, reason, sentence = decide_gate(image.chain, rows[0])
        except Failure:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the image's own code
            if not is_of_database(error):
                raise Failure("MigrationFailed", f"env.py failed: {describe(error)}.") from None
            verdict, reason, sentence = "waiting", "DatabaseUnreachable", f"The database: {describe(error)}."
        timer.cancel()
        if verdict == "open":
            output.end(0, "done", sentence)
        if verdict == "refused" or monotonic() >= end:
            raise Failure(reason, sentence, lasting=verdict == "refused")
        if sentence != said or monotonic() - told > TELL_AGAIN:
            output.say(f"Waiting: {sentence} ({reason})", reason)
            said, told = sentence, monotonic()
        sleep(min(random.uniform(pause / 2, pause), max(0.0, end - monotonic())))  # noqa: S311 - jitter
        pause = min(3.0, pause * 1.5)
