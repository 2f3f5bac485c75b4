"""Two operators at one namespace, of which the one at work is stopped for a while right before a change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from cluster.errors import ClusterError
from migrating.life import Life
from operated.instead import Instead, operator_instead


@dataclass(frozen=True)
class Stopping:
    """The operator that will stop."""

    instead: Instead

    def stopped(self, within: float = 40) -> float:
        """When it was seen to stand still, its Lease held and its change decided upon; monotonic, in seconds."""
        self.instead.says("stopping: stopped", within)
        return monotonic()

    def go_on(self) -> None:
        found = re.search(r"stopping: stopped (\d+)\.", self.instead.log())
        if found is None:
            raise ClusterError("it doesn't stand still")
        self.instead.run(f"import os, signal; os.kill({found[1]}, signal.SIGCONT)")

    def ended(self, within: float = 60) -> str:
        """Its log, once its process has ended."""
        return self.instead.says("stopping: ended with", within)


@contextmanager
def stopping_operator(world: Life, change: str, *guards: str) -> Iterator[Stopping]:
    """It is at work, and the Deployment's stands by. Afterwards only that one is there."""
    with operator_instead(world, change, *guards, module="rotating.stopping") as instead:
        # It gets ready beside another that is at work: no rollout waits for that.
        world.operator_scaled(1)
        yield Stopping(instead)
