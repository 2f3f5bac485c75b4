"""docs/limits.md: bounds and times that no setting changes, as the code has them.

python -m limits          prints the page; `make limits` writes it
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """# Limits

Bounds and times that no setting changes: seconds, bytes or counts, unless their meaning says otherwise. What can be
set is in the [README](../README.md#settings-of-the-service) and in [chart/README.md](../chart/README.md). `make limits`
writes this page.
"""
HALVES = {"service": "Service", "operator": "Operator"}
SAID_ELSEWHERE = {"Settings", "Spec", "Endpoint", "Document"}
"""Their members have the defaults of what people write."""
NUMBERS = (ast.BinOp, ast.Constant, ast.Tuple, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load)


def page() -> str:
    parts = [HEAD]
    for half, title in HALVES.items():
        parts += [f"## {title}\n", "| Limit | Value | Meaning |\n| --- | --- | --- |"]
        parts += [f"| `{name}` | {value} | {meaning} |" for name, value, meaning in limits(half)]
        parts.append("")
    return "\n".join(parts)


def limits(half: str) -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of each number that a module or a class of this half gives a public name."""
    (package,) = (ROOT / half).glob("slipway*")
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        yield from _of_body(module, tree.body, str.isupper)
        for each in ast.walk(tree):
            if isinstance(each, ast.ClassDef) and each.name not in SAID_ELSEWHERE:
                yield from _of_body(f"{module}.{each.name}", each.body, str.islower)


def _of_body(within: str, body: list[ast.stmt], is_ours: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
    """Zeros are where counts begin, and no bounds."""
    for statement, after in zip(body, [*body[1:], None], strict=False):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        parts = list(ast.walk(statement.value))
        names = ast.unparse(target).strip("()")
        numeric = all(isinstance(each, NUMBERS) for each in parts) and any(_is_number(each) for each in parts)
        if numeric and is_ours(names) and not names.startswith("_"):
            yield f"{within}.{names}", ast.unparse(statement.value).strip("()"), _meaning(after)


def _is_number(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and type(part.value) in (int, float) and part.value != 0


def _meaning(after: ast.stmt | None) -> str:
    """The text below it, as a line of a table."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.split()).replace("|", "\\|")
    return ""


if __name__ == "__main__":
    print(page(), end="")
