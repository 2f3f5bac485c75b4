"""docs/keys-and-logins.md tells what to do about every reason that the operator gives for keys and logins."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = [
    *sorted((ROOT / "operator/slipway_operator/keyrings").glob("*.py")),
    *sorted((ROOT / "operator/slipway_operator/logins").glob("*.py")),
    *sorted((ROOT / "operator/slipway_operator/evidence").glob("*.py")),
]
TELLING = {
    "act", "answer", "lag", "linger", "rewritten", "write",
    "Lagging", "Report", "Trouble", "UnusableError", "Verdict", "_faulty",
}  # fmt: skip
"""What reasons are given to."""
NO_REASONS = {
    "Ready", "Reconciling", "Stalled", "Suspended",
    "Created", "Healed", "Nonce", "Revoke", "Schedule", "Opaque",
    "Published", "Signing", "Revoked",
}  # fmt: skip
"""States, causes and stages, which look alike."""
REASON = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)*")
RETURNED = {"objection", "unreferred"}
"""Functions that return the reason why a pod lags."""


def reasons(source: str) -> set[str]:
    """Words in the form of a reason that are given, or returned, as one; also those that a name stands for."""
    tree = ast.parse(source)
    return {
        word.value
        for part in _parts(tree)
        for word in ast.walk(part)
        if isinstance(word, ast.Constant) and isinstance(word.value, str) and REASON.fullmatch(word.value)
    } - NO_REASONS


def _parts(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELLING:
            yield from (*node.args, *node.keywords)
        elif isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "reason" for name in node.targets):
            yield node.value
        elif isinstance(node, ast.FunctionDef) and node.name in RETURNED:
            yield from (each for each in ast.walk(node) if isinstance(each, ast.Return))
        elif isinstance(node, ast.arguments):
            yield from (each for each in node.defaults if each is not None)


def undocumented(found: set[str], text: str) -> set[str]:
    told = set(re.findall(r"`([A-Za-z]+)`", text))
    return found - told


def test_every_reason_is_explained() -> None:
    found = set().union(*(reasons(path.read_text()) for path in SOURCES))
    assert {"KeysLost", "OldSessionsStay", "SignsWithOther", "ConsumersLagging", "TimedOut", "AdminRefused"} <= found
    assert undocumented(found, (ROOT / "docs/keys-and-logins.md").read_text()) == set()


def test_one_that_nobody_explains_is_found_out() -> None:
    assert undocumented(reasons('answer(seen, "Stalled", "SeaTooRough", "Wait.")'), "`KeysLost`") == {"SeaTooRough"}
