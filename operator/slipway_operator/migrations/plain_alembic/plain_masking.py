"""SQL for people's eyes."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"(?P<skip>--[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:[^\"]|\"\")*\")|(?P<end>;)|(?P<string>\b[eE]'(?:[^'\\]|''|\\.)*'"
    r"|(?:\b(?:[bBxXnN]|[uU]&))?'(?:[^']|'')*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))"
    r"|(?P<word>[^\W\d][\w$]*)",
    re.DOTALL,
)
DATA, LOGINS = {"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"}, {"ROLE", "USER", "GROUP", "SERVER", "SUBSCRIPTION"}


def masked(sql: str) -> str:
    """SQL without the strings of statements that carry data, or a password."""
    told, start = "", 0
    for end in [*(token.end() for token in TOKEN.finditer(sql) if token["end"]), len(sql)]:
        statement, start = sql[start:end], end
        words = [token["word"].upper() for token in TOKEN.finditer(statement) if token["word"]]
        hides = words[:1] == ["DO"] and not DATA.isdisjoint(re.findall(r"\w+", statement.upper()))
        hides = hides or (words[:1] in (["WITH"], ["EXPLAIN"], ["PREPARE"]) and not DATA.isdisjoint(words))
        hides = hides or (words[:1] in (["CREATE"], ["ALTER"]) and not LOGINS.isdisjoint(words[1:3]))
        mask = hides or not DATA.isdisjoint(words[:1])
        told += TOKEN.sub(lambda token: "'…'" if token["string"] else token[0], statement) if mask else statement
    return told
