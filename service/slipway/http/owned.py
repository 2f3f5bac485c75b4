"""Rows that have an owner, and those with a version besides: what every domain that keeps some does alike.

A domain names its table and what is shown of it; then each of its routes is a call. Who may see whose rows is the
caller's to say: `restricted_to` is the owner whose rows there are, None stands for everybody's. What isn't there and
what isn't the asker's are one answer, 404, and neither is locked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Protocol, TypeVar, cast
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, ColumnElement, Select, Table, Uuid, bindparam, delete, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from slipway.http.fields import Change, CleanText
from slipway.http.idempotency import Key, OneCreate, create_once, key_of
from slipway.http.openapi import versioned
from slipway.http.paging import Page, PageRequest, build_page, cached_count
from slipway.http.preconditions import Preconditions, etag, require_match
from slipway.http.problems import NotFoundError, PreconditionFailedError, responses
from slipway.redis.cache import Cache
from slipway.storage.audit import Action
from slipway.storage.engine import Database
from slipway.storage.models import Base, new_id
from slipway.storage.statements import Statement
from slipway.storage.unit import Transaction

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)

LISTED = responses(NotFoundError)
SEEN = LISTED | versioned(200)
DELETED = responses(NotFoundError, PreconditionFailedError)
CHANGED = DELETED | versioned(200)
"""What routes may answer, for `responses=`."""

SearchQuery = Annotated[
    CleanText | None,
    Query(max_length=200, description='Words to find; `"a phrase"`, `or` and `-not` work.', examples=["hull"]),
]
OwnerQuery = Annotated[UUID | None, Query(description="Whose; others than one's own only for administrators.")]


class OwnedOut(BaseModel):
    """What is shown of each; the ETag header carries its version."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    owner_id: UUID
    created_at: datetime
    updated_at: datetime


class OwnedParts(Protocol):
    """What they need of a process, by the names that it has for them."""

    database: Database
    cache: Cache


def _parts(request: Request) -> OwnedParts:
    return cast("OwnedParts", request.app.state.resources)


async def _rows(request: Request, statement: Select[Any], **values: Any) -> Sequence[Any]:
    async def query(session: AsyncSession) -> Sequence[Any]:
        rows: Sequence[Any] = (await session.execute(statement, values)).all()
        return rows

    return await _parts(request).database.read(query)


class Owned(Generic[Shape]):
    """Rows with `id` and `owner_id`, shown as `shape` (read from attributes) below the address `at`.

    `one` is the word for one of them. `search` is the tsvector that is searched, `shown` what rows must be to be there.
    """

    def __init__(
        self,
        model: type[Base],
        shape: type[Shape],
        *,
        at: str,
        one: str,
        search: ColumnElement[Any] | None = None,
        shown: ColumnElement[bool] | None = None,
    ) -> None:
        self.at = at
        self.table = cast("Table", model.__table__)
        self._columns = tuple(column for column in self.table.c if column.computed is None)
        # By the names that the model has for them, which need not be the table's.
        self._named = tuple(column.label(column.key) for column in self._columns)
        self._shape = shape
        self._one = one
        self._search = search
        self._id = self.table.c.id
        self._owner_id = self.table.c.owner_id
        self._shown = select(*self._named).where(true() if shown is None else shown)
        self._visible = self._shown.where(
            self._id == bindparam("row_id"),
            or_(bindparam("restricted_to", type_=Uuid).is_(None), self._owner_id == bindparam("restricted_to")),
        )

    def existing(self, row: T | None) -> T:
        """Raises NotFoundError for what isn't there, or isn't the asker's to see."""
        if row is None:
            raise NotFoundError(f"There is no such {self._one.replace('_', ' ')}.")
        return row

    async def visible(self, request: Request, row_id: UUID, restricted_to: UUID | None) -> Any:
        """The row, its columns as attributes. Raises NotFoundError."""
        rows = await _rows(request, self._visible, row_id=row_id, restricted_to=restricted_to)
        return self.existing(rows[0] if rows else None)

    async def page(
        self, request: Request, wanted: PageRequest, owner_id: UUID, search: str | None = None
    ) -> Page[Shape]:
        """The owner's, oldest first; of them those that `search` finds."""
        matching = self._matching(owner_id, search)
        # One more than wanted tells whether others follow.
        part = matching.order_by(self._id).limit(wanted.per_page + 1).offset(wanted.offset)
        if wanted.after:
            part = part.where(self._id > wanted.after)

        async def count() -> int:
            return await self.total(request, owner_id, search)

        rows = await _rows(request, part)
        return build_page(rows, wanted, await wanted.total(rows, count), self._shape.model_validate)

    async def total(self, request: Request, owner_id: UUID, search: str | None) -> int:
        """How many there are, counted."""
        matching = self._matching(owner_id, search).subquery()
        ((number,),) = await _rows(request, select(func.count()).select_from(matching))
        return int(number)

    def _matching(self, owner_id: UUID, search: str | None) -> Select[Any]:
        statement = self._shown.where(self._owner_id == owner_id)
        if search and self._search is not None:
            return statement.where(self._search.bool_op("@@")(func.websearch_to_tsquery("simple", search)))
        return statement


class Versioned(Owned[Shape]):
    """Owned rows with `version`, `created_at` and `updated_at` besides: made, changed and deleted by their owners.

    Names in bodies are those of columns. Other columns get what `create` is told, or else their model's plain default.
    A reply is made before its row: what the database would make of a value, such as rounding it, is the schema's to do.
    Totals are cached; rows that go otherwise than by `delete` leave them behind by the cache's bound.
    """

    def __init__(self, model: type[Base], shape: type[Shape], **told: Any) -> None:
        super().__init__(model, shape, **told)
        noun = self.table.name
        self.creation = Action(noun, "create")
        self.alteration = Action(noun, "change")
        self.deletion = Action(noun, "delete")
        links = {word: (f"{verb}_{self._one}", f"{self._one}_id") for word, verb in _LINKS.items()}
        self.created = versioned(201, links=links)
        self._names = frozenset(column.key for column in self._columns)
        self._changing = tuple(column.key for column in self._columns if column.key not in _KEPT)
        self._defaults = {column.key: _default(column) for column in self._columns}
        self._insert = OneCreate(self.table, *(column.key for column in self._columns))
        self.lock = Statement(self._visible.with_for_update())
        self._update = Statement(
            update(self.table)
            .where(self._id == bindparam("row_id"))
            .values(
                {name: bindparam(f"new_{name}", type_=self.table.c[name].type) for name in self._changing}
                | {
                    "version": self.table.c.version + 1,
                    # Of the database's clock, while a row's first date is of a pod's: never before that.
                    "updated_at": func.greatest(func.now(), self.table.c.updated_at),
                }
            )
            .returning(*self._named)
        )
        self._delete = Statement(delete(self.table).where(self._id == bindparam("row_id")))

    def reply(self, row: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        body = self._shape.model_validate(row).model_dump_json()
        return Response(body, status, {"ETag": etag(row.version), **(headers or {})}, "application/json")

    async def create(
        self,
        request: Request,
        owner_id: UUID,
        content: BaseModel,
        key: str | None,
        *,
        beside: Callable[[Transaction, UUID], Awaitable[None]] | None = None,
        **more: Any,
    ) -> Response:
        """Add one of `owner_id`'s, once for each `Idempotency-Key`; `more` are columns that no client decides.

        `beside` is what else belongs to it, such as a job, given its id: it is done exactly when the row is added.
        Raises what the key's claim raises.
        """
        parts = _parts(request)
        once = await key_of(request, owner_id, key)
        row = self.new(owner_id, content, **more)
        reply = self.reply(row, 201, {"Location": f"{self.at}/{row.id}"})

        async def work(transaction: Transaction) -> Response:
            if beside is not None:
                await beside(transaction, row.id)
            return await self.add(transaction, once, row, reply)

        async def then(_: Response) -> None:
            await parts.cache.invalidate(self._total_key(owner_id))

        return await parts.database.unit(self.creation, work, then=then)

    def new(self, owner_id: UUID, content: BaseModel, **more: Any) -> SimpleNamespace:
        """A row as it will be, dates included: what is replied is known before it is written, and stored beside it."""
        now = datetime.now(UTC)
        ours = {"id": new_id(), "owner_id": owner_id, "version": 1, "created_at": now, "updated_at": now}
        return SimpleNamespace(**self._known(self._defaults | content.model_dump() | more | ours))

    async def add(self, transaction: Transaction, key: Key | None, row: SimpleNamespace, reply: Response) -> Response:
        """It concludes the transaction; as its only statement it is the whole of it."""
        transaction.entry.resource = row.id
        return await create_once(transaction, key, self._insert, reply, **vars(row))

    async def read(self, request: Request, row_id: UUID, restricted_to: UUID | None) -> Response:
        """With its ETag. Raises NotFoundError."""
        return self.reply(await self.visible(request, row_id, restricted_to))

    async def change(
        self,
        request: Request,
        row_id: UUID,
        restricted_to: UUID | None,
        content: BaseModel,
        matching: Preconditions,
    ) -> Response:
        """Replace what clients decide; by a `Change` only what it names. Raises as `locked` does."""
        given = self._known(content.model_dump(exclude_unset=isinstance(content, Change)))

        async def work(transaction: Transaction) -> Response:
            row = await self.locked(transaction, row_id, restricted_to, matching)
            values = {f"new_{name}": given.get(name, row[name]) for name in self._changing}
            return self.reply(self.existing(await transaction.row(self._update, row_id=row_id, **values)))

        return await _parts(request).database.unit(self.alteration, work)

    async def delete(self, request: Request, row_id: UUID, restricted_to: UUID | None, matching: Preconditions) -> None:
        """Raises as `locked` does."""
        parts = _parts(request)

        async def work(transaction: Transaction) -> UUID:
            row = await self.locked(transaction, row_id, restricted_to, matching)
            await transaction.row(self._delete, row_id=row_id)
            owner_id: UUID = row.owner_id
            return owner_id

        async def then(owner_id: UUID) -> None:
            await parts.cache.invalidate(self._total_key(owner_id))

        await parts.database.unit(self.deletion, work, then=then)

    async def locked(
        self, transaction: Transaction, row_id: UUID, restricted_to: UUID | None, matching: Preconditions
    ) -> Any:
        """The row, locked for this transaction. Raises NotFoundError and PreconditionFailedError."""
        transaction.entry.resource = row_id
        row = self.existing(await transaction.row(self.lock, row_id=row_id, restricted_to=restricted_to))
        require_match(matching, row.version)
        return row

    async def total(self, request: Request, owner_id: UUID, search: str | None) -> int:
        """Without a search it is cached, and dropped from there with each row that is made or deleted here."""

        async def count() -> int:
            return await super(Versioned, self).total(request, owner_id, search)

        return await count() if search else await cached_count(_parts(request).cache, self._total_key(owner_id), count)

    def _total_key(self, owner_id: UUID) -> str:
        return f"{self.table.name}:total:{owner_id}"

    def _known(self, values: dict[str, Any]) -> dict[str, Any]:
        if not self._names.issuperset(values):
            raise TypeError(f"{self.table.name} has no column for {', '.join(sorted(values.keys() - self._names))}.")
        return values


_LINKS = {"read": "read", "change": "patch", "delete": "delete"}
_KEPT = frozenset(("id", "owner_id", "version", "created_at", "updated_at"))


def _default(column: Column[Any]) -> Any:
    """What a model says by itself. Raises TypeError where only the database would: the reply couldn't show that."""
    default: Any = column.default
    if default is not None and default.is_scalar:
        return default.arg
    if column.key not in _KEPT and (default is not None or column.server_default is not None):
        raise TypeError(
            f"{column.table.name}.{column.key} needs a plain `default` in its model: a reply is made first."
        )
    return None
