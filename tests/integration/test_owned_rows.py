"""`http/owned.py` for tables that items aren't like: other names, other types, defaults of a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servers.databases import TestDatabase, superuser_sql
from servers.migration_images import value
from slipway.http.fields import Change
from slipway.http.idempotency import IdempotentReplay, Key
from slipway.http.owned import OwnedOut, Versioned
from slipway.http.preconditions import Preconditions
from slipway.http.problems import NotFoundError, PreconditionFailedError
from slipway.storage.engine import Database
from slipway.storage.models import Base, VersionedRow

OWNER, OTHER = UUID(int=7), UUID(int=8)
KEY = Key(key_hash=b"hash", fingerprint=b"print", user_id=OWNER, ttl=60)


class Elsewhere(DeclarativeBase):
    """Not the service's own models."""

    type_annotation_map = Base.type_annotation_map


class Boat(VersionedRow, Elsewhere):
    """Columns called as what a key is made of, one that the table calls otherwise, one of JSON, one with a default."""

    __tablename__ = "house_boats"

    user_id: Mapped[str | None]
    ttl: Mapped[str | None]
    fingerprint: Mapped[str] = mapped_column("thumb", key="fingerprint")
    papers: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(default="afloat")


class Papers(BaseModel):
    flag: str


class BoatContent(BaseModel):
    fingerprint: str
    papers: Papers
    ttl: str | None = None


class BoatPatch(Change):
    ttl: str | None = None


class Nothing(BaseModel):
    """What says nothing."""


class BoatOut(OwnedOut):
    fingerprint: str
    papers: Papers
    ttl: str | None
    state: str


BOATS: Versioned[BoatOut] = Versioned(Boat, BoatOut, at="/boats", one="house_boat")  # type: ignore[arg-type]
CONTENT = BoatContent(fingerprint="f", papers=Papers(flag="NL"), ttl="x")


@pytest.fixture(autouse=True)
async def boats(database: TestDatabase) -> None:
    await superuser_sql(
        database.server,
        "CREATE TABLE house_boats (id uuid PRIMARY KEY, owner_id uuid, user_id text, ttl text, thumb text,"
        " papers jsonb, state text, version int, created_at timestamptz, updated_at timestamptz)",
        "GRANT ALL ON house_boats TO PUBLIC",
        f"INSERT INTO users (id, email, password_hash) VALUES ('{OWNER}', 'owner@example.com', '-')",  # noqa: S608 - ours
        database=database.name,
    )


async def add(db: Database, key: Key | None = None) -> UUID:
    row = BOATS.new(OWNER, CONTENT)
    await db.unit(BOATS.creation, lambda transaction: BOATS.add(transaction, key, row, BOATS.reply(row)))
    row_id: UUID = row.id
    return row_id


def rigged(table: str, rig: Any) -> Versioned[OwnedOut]:
    told = {"__tablename__": table, "__annotations__": {"rig": Mapped[str]}, "rig": rig}
    return Versioned(type(table, (VersionedRow, Elsewhere), told), OwnedOut, at="/rigged", one="boat")


def test_what_only_the_database_would_fill_in_is_refused_before_any_request() -> None:
    for table, rig in (
        ("by_server", mapped_column(server_default=text("'sloop'"))),
        ("each_time", mapped_column(default=lambda: "sloop")),
    ):
        with pytest.raises(TypeError, match=rf"^{table}\.rig needs a plain `default`"):
            rigged(table, rig)
    both = rigged("both", mapped_column(default="sloop", server_default=text("'sloop'")))
    assert both.new(OWNER, Nothing()).rig == "sloop"


async def test_columns_may_be_called_as_what_a_key_is_made_of(db: Database, database: TestDatabase) -> None:
    await add(db, KEY)
    assert await value(database.url_app, "SELECT (ttl, thumb, state, papers->>'flag')::text FROM house_boats") == (
        "(x,f,afloat,NL)"
    )
    assert await value(database.url_app, "SELECT user_id FROM idempotency_keys WHERE key_hash = 'hash'") == OWNER
    with pytest.raises(IdempotentReplay):
        await add(db, KEY)
    assert await value(database.url_app, "SELECT count(*) FROM house_boats") == 1


async def test_what_a_change_does_not_name_stays_as_it_is_in_columns_of_every_type(db: Database) -> None:
    row_id = await add(db)
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(resources=SimpleNamespace(database=db))))
    reply = await BOATS.change(request, row_id, OWNER, BoatPatch(ttl="y"), Preconditions(frozenset({'"1"'})))
    shown = BoatOut.model_validate_json(reply.body)
    assert (shown.id, shown.owner_id, reply.headers["ETag"]) == (row_id, OWNER, '"2"')
    assert (shown.fingerprint, shown.papers, shown.ttl, shown.state) == ("f", Papers(flag="NL"), "y", "afloat")
    assert reply.body == (await BOATS.read(request, row_id, OWNER)).body


@pytest.mark.parametrize(
    ("asking", "wanted", "refused"),
    [(OTHER, None, NotFoundError), (OWNER, '"2"', PreconditionFailedError), (None, '"2"', PreconditionFailedError)],
)
async def test_who_may_not_or_comes_too_late_locks_nothing_to_write(
    db: Database, asking: UUID | None, wanted: str | None, refused: type[Exception]
) -> None:
    row_id = await add(db)
    matching = Preconditions(frozenset({wanted}) if wanted else None)
    with pytest.raises(refused) as told:
        await db.unit(BOATS.alteration, lambda transaction: BOATS.locked(transaction, row_id, asking, matching))
    assert refused is not NotFoundError or str(told.value) == "There is no such house boat."


def test_a_member_that_is_no_column_is_a_fault_of_the_domain_and_is_named() -> None:
    with pytest.raises(TypeError, match=r"house_boats has no column for colour, sails\."):
        BOATS.new(OWNER, CONTENT, sails=2, colour="red")


def test_links_lead_to_the_operations_of_such_a_row() -> None:
    [described] = BOATS.created.values()
    assert described["links"]["change"] == {
        "operationId": "patch_house_boat",
        "parameters": {"house_boat_id": "$response.body#/id"},
    }
