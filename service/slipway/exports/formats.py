"""Rows of an export as bytes. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from slipway.exports.schemas import ExportFormat

MEDIA_TYPES: dict[str, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


class ItemRow(NamedTuple):
    """What an export holds of an item; its fields are the file's columns, in their order."""

    id: UUID
    title: str
    body: str
    version: int
    created_at: datetime
    updated_at: datetime


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def harmless(cell: str) -> str:
    """Text that spreadsheets show instead of running it as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def header(kind: ExportFormat) -> bytes:
    return _csv_lines([ItemRow._fields]) if kind == "csv" else b""


def encode(rows: Iterable[ItemRow], kind: ExportFormat) -> bytes:
    if kind == "csv":
        return _csv_lines(map(_cells, rows))
    return b"".join(map(_json_line, rows))


def _json_line(row: ItemRow) -> bytes:
    # The driver's UUIDs are of a class of their own, which orjson doesn't take.
    return orjson.dumps({**row._asdict(), "id": str(row.id)}, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _cells(row: ItemRow) -> Sequence[str]:
    return (
        str(row.id),
        harmless(row.title),
        harmless(row.body),
        str(row.version),
        row.created_at.isoformat(),
        row.updated_at.isoformat(),
    )


def _csv_lines(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
