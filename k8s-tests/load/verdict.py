"""What a load must have shown."""

from __future__ import annotations

from load.harness import Outcome


def nothing_failed(outcome: Outcome, *, repeats: bool = False) -> None:
    """AssertionError with what keeps the load from showing that nothing fails.

    Requests that only got through because they were repeated count too, unless `repeats` allows them.
    """
    complaints = outcome.complaints()
    if outcome.retried and not repeats:
        complaints.append(f"{outcome.retried} were repeated")
    if complaints:
        raise AssertionError("\n".join(complaints))
