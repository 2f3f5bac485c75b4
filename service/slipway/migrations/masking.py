"""SQL for people to look at, without the values that data statements carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "'…'"

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*)
  | (?P<literal> (?<![\w$])[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)                   # with backslash escapes
               | (?:(?<![\w$])(?:[bBxXnN]|[uU]&))?'(?:[^']|'')*(?:'|\Z)
               | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)
_NESTED = re.compile(r"/\*|\*/")

_DATA = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
_SECRETIVE = frozenset({"ROLE", "USER", "GROUP", "SERVER", "SUBSCRIPTION"})
"""CREATE and ALTER of these carry passwords."""


def mask_literals(sql: str) -> str:
    """Put '…' for every string in INSERT, UPDATE, DELETE, MERGE, COPY, also below WITH, EXPLAIN, PREPARE and in DO.

    So too for what gives a password. Strings of other statements are part of the schema and stay; so do numbers.
    """
    return "".join(_mask_statement(tokens) for tokens in _statements(sql))


def _statements(sql: str) -> Iterator[list[tuple[str, str]]]:
    """The (kind, text) of each piece, one list a statement; joined again they are the SQL."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while match := _TOKEN.search(sql, position):
        kind, end = match.lastgroup or "", match.end()
        if kind == "tag":
            kind = "literal"
        if match.group() == "/*":
            end = _end_of_comment(sql, end)
        tokens += [("other", sql[position : match.start()]), (kind, sql[match.start() : end])]
        position = end
        if kind == "end":
            yield tokens
            tokens = []
    yield [*tokens, ("other", sql[position:])]


def _end_of_comment(sql: str, start: int) -> int:
    """Where a comment ends that began just before `start`; PostgreSQL's comments nest."""
    depth = 1
    for match in _NESTED.finditer(sql, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)


def _mask_statement(tokens: list[tuple[str, str]]) -> str:
    words = [text.upper() for kind, text in tokens if kind == "word"]
    if words[:1] == ["DO"]:
        return "".join(_mask_body(text) if kind == "literal" else text for kind, text in tokens)
    masked = _is_masked(words)
    return "".join(MASK if masked and kind == "literal" else text for kind, text in tokens)


def _is_masked(words: list[str]) -> bool:
    first = words[0] if words else ""
    if first in ("WITH", "EXPLAIN", "PREPARE"):
        return not _DATA.isdisjoint(words)
    return first in _DATA or (first in ("CREATE", "ALTER") and not _SECRETIVE.isdisjoint(words[1:3]))


def _mask_body(literal: str) -> str:
    """A block of code: every string in it, if it has a data statement anywhere."""
    dollar = re.fullmatch(r"(\$\w*\$)(.*)\1", literal, re.DOTALL)
    if dollar is None:
        return MASK
    mark, body = dollar.groups()
    pieces = [piece for tokens in _statements(body) for piece in tokens]
    if _DATA.isdisjoint(text.upper() for kind, text in pieces if kind == "word"):
        return literal
    return mark + "".join(MASK if kind == "literal" else text for kind, text in pieces) + mark
