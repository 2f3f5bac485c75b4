"""The load of rotations, and what its report says of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from load.harness import GENERATOR, Outcome, Program, Traffic

PROGRAM = Program(
    "rotating.generator",
    {**GENERATOR.packages, Path(__file__).parent: ("__init__.py", "validator.py", "generator.py")},
)


@dataclass(frozen=True)
class RotatingTraffic(Traffic):
    """As Traffic; `validator_cache` and `refresh_every` in seconds."""

    sign_in_every: float = 3.0
    validator_cache: float = 3.0
    refresh_every: float = 0.5

    @property
    def program(self) -> Program:
        return PROGRAM

    def options(self) -> list[str]:
        own = [f"--validator-cache={self.validator_cache:g}", f"--refresh-every={self.refresh_every:g}"]
        return [*super().options(), *own]


@dataclass(frozen=True)
class RotatingOutcome(Outcome):
    """The report; what became of tokens of a revoked key is nobody's failure, and counted apart."""

    revoked: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        return super().failed - self.unauthorized_by_revocation

    @property
    def unauthorized_by_revocation(self) -> int:
        """Requests that got 401 with a token of a revoked key."""
        return sum(int(count) for key, count in self.report["unauthorized"].items() if key in self.revoked)

    @property
    def tokens_refused_wrongly(self) -> int:
        """Tokens that lived, weren't of a revoked key, and that a party outside refused."""
        refused = self.report["validators"]["refused"]
        return sum(int(found["tokens"]) for key, found in refused.items() if key not in self.revoked)

    @property
    def checks(self) -> int:
        return int(self.report["validators"]["checks"])

    def complaints(self) -> list[str]:
        told = super().complaints()
        if self.tokens_refused_wrongly:
            told.append(f"tokens refused wrongly: {self.report['validators']['refused']}")
        if not self.checks:
            told.append("no token was checked")
        return told

    def sentence(self, scenario: str) -> str:
        told = f"{super().sentence(scenario)}, tokens refused wrongly {self.tokens_refused_wrongly}"
        told += f" of {self.report['validators']['tokens']} ({self.checks} checks)"
        if self.revoked:
            told += f", 401s on tokens of the revoked key {self.unauthorized_by_revocation}"
        return told
