"""Where a source file can be made slightly wrong, and how. Pure: text in, places out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
COUNTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
TELLING = {"warning": "debug", "error": "debug", "exception": "debug"}


@dataclass(frozen=True)
class Fault:
    """`start` and `end` are offsets into the file's bytes, between which `text` goes."""

    line: int
    start: int
    end: int
    text: str
    what: str

    def put_into(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def faults(source: bytes) -> list[Fault]:
    """Every fault that leaves a file which Python reads, in the order of the file."""
    finder = _Finder(source)
    tree = ast.parse(source)
    finder.visit(tree)
    return sorted(finder.found, key=lambda fault: (fault.start, fault.end, fault.text))


class _Finder(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.found: list[Fault] = []
        self._source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[end_line - 1] + end

    def _add(self, node: ast.expr | ast.stmt, text: str, what: str) -> None:
        self.found.append(Fault(node.lineno, *self._span(node), text, what))

    def _between(self, left: ast.expr, right: ast.expr, words: tuple[str, str]) -> None:
        """Another operator where one stands between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        pattern = re.escape(words[0]).replace(r"\ ", r"\s+")
        bounded = rf"\b{pattern}\b" if words[0][0].isalpha() else pattern
        place = re.search(bounded.encode(), self._source[start:end])
        if place:
            line = self._source.count(b"\n", 0, start + place.start()) + 1
            at = (start + place.start(), start + place.end())
            self.found.append(Fault(line, *at, words[1], f"{words[0]} is {words[1]}"))

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            self._between(left, right, COMPARED[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, words)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in COUNTED:
            self._between(node.left, node.right, COUNTED[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start, end = self._span(node.operand)
            self._add(node, f"({self._source[start:end].decode()})", "not is left out")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, str(not node.value), f"{node.value} is {not node.value}")
        elif isinstance(node.value, int | float):
            for other in {node.value + 1, node.value * 10} - {node.value}:
                self._add(node, str(other), f"{node.value} is {other}")

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in OPPOSITES:
            self._add(node.func, OPPOSITES[name], f"{name} is {OPPOSITES[name]}")
        if isinstance(node.func, ast.Attribute) and node.func.attr in TELLING:
            end = self._span(node.func)[1]
            start = end - len(node.func.attr)
            self.found.append(Fault(node.lineno, start, end, TELLING[node.func.attr], f"{node.func.attr} is debug"))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._turned(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._turned(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._turned(node.test)
        self.generic_visit(node)

    def _turned(self, test: ast.expr) -> None:
        start, end = self._span(test)
        self._add(test, f"(not ({self._source[start:end].decode()}))", "the condition is turned round")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._add(node, "return None", "nothing is returned")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self._add(node, "pass", "the statement is left out")
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add(node, "pass", "nothing is raised")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._add(node, "break", "continue is break")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # An annotation is for readers; only the value runs.
        if node.value is not None:
            self.visit(node.value)

    def visit_arguments(self, node: ast.arguments) -> None:
        for default in [*node.defaults, *(each for each in node.kw_defaults if each is not None)]:
            self.visit(default)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._body(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._body(node)

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    def visit_Assert(self, node: ast.Assert) -> None:
        """For type checkers, or for what can't happen."""


def touched(patch: str) -> Iterator[tuple[str, int]]:
    """File and number of each line that `git diff --unified=0` adds."""
    path, number = "", 0
    for line in patch.splitlines():
        if line.startswith("+++ "):
            path = line[4:].removeprefix("b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)", line):
            number = int(hunk[1])
        elif line.startswith("+"):
            yield path, number
            number += 1
