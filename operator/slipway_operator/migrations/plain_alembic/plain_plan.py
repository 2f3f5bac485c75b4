"""Tells what is pending."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, NamedTuple, NoReturn

from plain_database import read_place, read_rows
from plain_decisions import Row, decide_pending, foreign, is_open
from plain_image import Image, digest
from plain_masking import masked
from plain_output import Output
from plain_runner import Runner

PIECE, PIECES, DOCUMENT = 6000, 200, 4 * 2**20
"""Characters of a line, lines, and bytes of the document: what the operator reads at most."""


class Seen(NamedTuple):
    """Of the database; `place` as in the plan."""

    place: dict[str, str]
    heads: tuple[str, ...]
    rows: tuple[Row, ...]


def plan(image: Image, runner: Runner, output: Output, *, literals: bool) -> NoReturn:
    document, pieces = packed(document_of(image, look(runner), literals=literals))
    for number, piece in enumerate(pieces[:-1], 1):
        output.line("plan", "", part=number, parts=len(pieces), data=piece)
    output.end(0, "plan", plain(document), part=len(pieces), parts=len(pieces), data=pieces[-1])


def look(runner: Runner) -> Seen:
    """Raises Failure as Runner.visit."""
    seen: list[Seen] = []

    def work(context: Any) -> str:
        connection = runner.enter(context)
        seen.append(Seen(read_place(connection), context.get_current_heads(), read_rows(connection) or ()))
        return ""

    runner.visit(work)
    return seen[-1]


def document_of(image: Image, seen: Seen, *, literals: bool) -> dict[str, Any]:
    """The plan for the operator. Raises Failure as decide_pending."""
    opened = [row.revision for row in seen.rows if is_open(row)]
    revisions: list[dict[str, Any]] = []
    for one in decide_pending(image.chain, seen.heads, seen.rows):
        sql = image.sql(one)
        shown = sql if sql is None or literals else masked(sql)
        revisions.append({"id": one.id, "kind": one.kind, "message": one.message, "sql": shown,
                          "sql_digest": digest(sql), "announced": one.id in opened})  # fmt: skip
    return {
        "version": 1,
        "database": seen.place,
        "current": ",".join(seen.heads),
        "target": image.chain[-1].id if image.chain else "",
        "revisions": revisions,
        "foreign": foreign(image.chain, seen.heads, seen.rows),
    }


def packed(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The plan and the pieces of it that go out. One that is too large goes partial, without the longest SQL."""
    revisions = document["revisions"]
    while True:
        told = {**document, "partial": any(one["sql"] is None for one in revisions), "revisions": revisions}
        whole = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        data = base64.b64encode(zlib.compress(whole, 9)).decode()
        longest = max(revisions, key=lambda one: len(one["sql"] or ""), default=None)
        if (len(whole) <= DOCUMENT and len(data) <= PIECE * PIECES) or not (longest and longest["sql"]):
            return told, [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        revisions = [{**one, "sql": None, "sql_digest": None} if one is longest else one for one in revisions]


def plain(document: dict[str, Any]) -> str:
    """The plan for people."""
    parts = [
        f"-- {one['id']} {one['kind']}\n{one['sql'] or '-- It reads the database.'}" for one in document["revisions"]
    ]
    return "\n\n".join(parts) or "-- nothing to do"
