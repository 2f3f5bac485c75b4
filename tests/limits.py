"""docs/limits.md: bounds and times that no setting changes, as the code has them.

python -m limits          prints the page; `make limits` writes it
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """# Limits

Bounds and times that no setting changes: seconds, bytes or counts, unless their meaning says otherwise. What can be
set is in the [README](../README.md#settings-of-the-service) and in [chart/README.md](../chart/README.md). `make limits`
writes this page.
"""
HALVES = {"service": "Service", "operator": "Operator"}
NUMBERS = (ast.BinOp, ast.Constant, ast.Tuple, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load)


def page() -> str:
    parts = [HEAD]
    for half, title in HALVES.items():
        parts += [f"## {title}\n", "| Limit | Value | Meaning |\n| --- | --- | --- |"]
        parts += [f"| `{name}` | {value} | {meaning} |" for name, value, meaning in limits(half)]
        parts.append("")
    return "\n".join(parts)


def limits(half: str) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of each number that a module of this half gives a public name."""
    (package,) = (ROOT / half).glob("slipway*")
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        yield from _of_module(module, ast.parse(path.read_text(encoding="utf-8")))


def _of_module(module: str, tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for statement, after in zip(tree.body, [*tree.body[1:], None], strict=False):
        if not isinstance(statement, ast.Assign) or not all(
            isinstance(each, NUMBERS) for each in ast.walk(statement.value)
        ):
            continue
        target, value = statement.targets[0], ast.unparse(statement.value).strip("()")
        names = ast.unparse(target).strip("()")
        numeric = any(
            isinstance(each, ast.Constant) and type(each.value) in (int, float) for each in ast.walk(statement.value)
        )
        if numeric and names.isupper() and not names.startswith("_"):
            yield f"{module}.{names}", value, _meaning(after)


def _meaning(after: ast.stmt | None) -> str:
    """The text below it, as a line of a table."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.split()).replace("|", "\\|")
    return ""


if __name__ == "__main__":
    print(page(), end="")
