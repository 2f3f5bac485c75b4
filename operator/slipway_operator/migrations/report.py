"""Marked lines that a Job's container writes, read as strictly as a stranger's."""

from __future__ import annotations

import binascii
import json
import re
import zlib
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from slipway_operator.conditions import NOT_PRINTABLE, one_line
from slipway_operator.migrations.model import Finding, Plan, Revision, Trouble
from slipway_operator.migrations.pods import digest_of

PREFIX = "slipway.dev/v1 "
LINE_LIMIT = 8 * 1024
PARTS_LIMIT = 200
DOCUMENT_LIMIT = 4 * 1024 * 1024
REVISIONS_LIMIT = 1000
NAMES_LIMIT = 100
MESSAGE_LIMIT = 1024
_TITLE_LIMIT = 256  # of a revision's message
_NAME_LIMIT = 256
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


class UnreadableError(Exception):
    """What should be a plan isn't one. The message says what is wrong with it, not what it holds."""

    @property
    def trouble(self) -> Trouble:
        return Trouble("PlanUnreadable", f"The plan that the Job wrote can't be read: {self}")


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    revision: Revision
    sql: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a plan Job wrote. `system` is PostgreSQL's system identifier, empty where the login may not read it."""

    system: str
    database: str
    current: str
    target: str
    partial: bool
    foreign: tuple[str, ...]
    planned: tuple[PlannedRevision, ...]

    def plan(self, image_id: str, findings: Iterable[Finding], config_map: str | None) -> Plan:
        revisions = tuple(planned.revision for planned in self.planned)
        digests = [[revision.id, revision.kind, revision.sql_digest] for revision in revisions]
        identity = [digest_of(image_id), self.current, digests, self.system, self.database]
        return Plan(
            digest="sha256:" + sha256(json.dumps(identity).encode()).hexdigest(),
            current=self.current,
            target=self.target,
            revisions=revisions,
            foreign=self.foreign,
            findings=tuple(findings),
            partial=self.partial,
            config_map=config_map,
        )

    @property
    def sql(self) -> str:
        """For people: every revision's SQL under a heading; empty when there is nothing to show."""
        return "\n".join(_section(planned) for planned in self.planned)


def _section(planned: PlannedRevision) -> str:
    revision = planned.revision
    body = planned.sql if planned.sql is not None else "-- It reads the database, so its SQL can't be told beforehand."
    return f"-- {revision.id} ({revision.kind}) {revision.message}\n{body.strip()}\n"


def lines(text: str) -> Iterator[dict[str, Any]]:
    """The marked lines of a log, in order; a line that isn't well-formed is passed over."""
    for line in text.split("\n"):
        if line.startswith(PREFIX) and len(line) <= LINE_LIMIT:
            try:
                found = json.loads(line[len(PREFIX) :])
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                yield found


def failure(text: str) -> Trouble | None:
    """Why a command failed, by its last marked line."""
    last = _last(text)
    if last is None or last.get("type") != "failed":
        return None
    return _trouble(last, lasting=last.get("lasting") is True)


def progress(text: str) -> Trouble | None:
    """What a command that runs waits for; None when it works."""
    last = _last(text)
    if last is None or last.get("type") != "waiting":
        return None
    return _trouble(last, lasting=False)


def left(text: str) -> list[str] | None:
    """The contracts that a run which ended well says it left for later, the last NAMES_LIMIT; None: it doesn't say."""
    last = _last(text)
    found = last.get("held_back") if last is not None and last.get("type") == "done" else None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def cut_short(text: str) -> bool:
    """Whether a command that ended well told something, but not that it is done: something else ended it."""
    last = _last(text)
    return last is not None and last.get("type") != "done"


def _last(text: str) -> dict[str, Any] | None:
    return next(reversed(list(lines(text))), None)


def _trouble(line: Mapping[str, Any], *, lasting: bool) -> Trouble | None:
    reason, message = line.get("reason"), line.get("message")
    if not isinstance(reason, str) or not _REASON.fullmatch(reason) or not isinstance(message, str):
        return None
    return Trouble(reason, one_line(message, MESSAGE_LIMIT), lasting)


def report(log: str) -> Report:
    """Read the plan out of a plan Job's log. Raises UnreadableError."""
    document = _document([line for line in lines(log) if line.get("type") == "plan"])
    if document.get("version") != 1:
        raise UnreadableError("its version isn't 1; use an operator that is as new as the image.")
    database = _expect(document, "database", dict)
    revisions = _expect(document, "revisions", list)
    if len(revisions) > REVISIONS_LIMIT:
        raise UnreadableError(f"more than {REVISIONS_LIMIT} revisions are pending; run the first of them by hand.")
    planned = tuple(_planned(revision) for revision in revisions)
    if len({one.revision.id for one in planned}) != len(planned):
        raise UnreadableError("a revision is in it twice.")
    return Report(
        system=_expect(database, "system", str)[:_NAME_LIMIT],
        database=_text(database, "name"),
        current=_revision_ids(document, "current"),
        target=_revision_ids(document, "target"),
        partial=_expect(document, "partial", bool),
        foreign=tuple(_id(value) for value in _expect(document, "foreign", list)[:REVISIONS_LIMIT]),
        planned=planned,
    )


def _document(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if not parts:
        raise UnreadableError("its log has no plan.")
    count = parts[0].get("parts")
    if not isinstance(count, int) or not 1 <= count <= PARTS_LIMIT:
        raise UnreadableError(f"it isn't in 1 to {PARTS_LIMIT} parts.")
    if [(part.get("part"), part.get("parts")) for part in parts] != [(n, count) for n in range(1, count + 1)]:
        raise UnreadableError("parts are missing, doubled or out of order.")
    try:
        document = json.loads(_inflated(b"".join(b64decode(_text(part, "data"), validate=True) for part in parts)))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UnreadableError(f"its parts don't make a document ({type(error).__name__}).") from error
    if not isinstance(document, dict):
        raise UnreadableError("its document is no object.")
    return document


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    document = inflater.decompress(data, DOCUMENT_LIMIT)
    if inflater.unconsumed_tail:
        raise UnreadableError(f"it is larger than {DOCUMENT_LIMIT} bytes.")
    if not inflater.eof or inflater.unused_data:
        raise UnreadableError("its compressed data doesn't end where it should.")
    return document


def _planned(value: Any) -> PlannedRevision:
    if not isinstance(value, dict):
        raise UnreadableError("a revision is no object.")
    if value.get("kind") not in ("expand", "contract"):
        raise UnreadableError("a revision is neither expand nor contract.")
    sql, digest = value.get("sql"), value.get("sql_digest")
    told = isinstance(sql, str) and isinstance(digest, str) and _HASH.fullmatch(digest)
    if not told and not (sql is None and digest is None):
        raise UnreadableError("a revision has SQL without its digest, or a digest without SQL.")
    revision = Revision(
        id=_id(value.get("id")),
        kind=value["kind"],
        message=one_line(_expect(value, "message", str), _TITLE_LIMIT),
        sql_digest=digest,
        announced=_expect(value, "announced", bool),
    )
    return PlannedRevision(revision, sql)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise UnreadableError("a revision's id isn't 1 to 64 letters, digits, dots, dashes and underscores.")
    return value


def _revision_ids(document: Mapping[str, Any], name: str) -> str:
    value = _expect(document, name, str)
    if len(value) > _NAME_LIMIT or NOT_PRINTABLE.search(value):
        raise UnreadableError(f"{name} is no revision.")
    return str(value)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = _expect(document, name, str)
    if not value:
        raise UnreadableError(f"{name} is empty.")
    return str(value)


def _expect(document: Mapping[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise UnreadableError(f"{name} is missing or of another kind than {kind.__name__}.")
    return value
