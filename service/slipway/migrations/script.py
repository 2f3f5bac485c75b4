"""The revisions that an image brings, in the order in which they are applied."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal, cast

from slipway.migrations.errors import MigrationError

Kind = Literal["expand", "contract"]

ENVIRONMENT = Path(__file__).parent
VERSIONS = ENVIRONMENT / "versions"
DECLARATIONS = ("revision", "down_revision", "depends_on", "kind")


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema. `contract` breaks code of earlier releases; `expand` doesn't."""

    id: str
    kind: Kind
    message: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Every revision of an image, oldest first."""

    revisions: tuple[Revision, ...]

    @property
    def head(self) -> str | None:
        return self.revisions[-1].id if self.revisions else None

    @property
    def needs(self) -> str | None:
        """What code of this image can't do without: the last expand before the trailing contracts."""
        return next((revision.id for revision in reversed(self.revisions) if revision.kind == "expand"), None)

    def __contains__(self, revision_id: object) -> bool:
        return any(revision.id == revision_id for revision in self.revisions)

    def reached(self, heads: Iterable[str]) -> frozenset[str]:
        """The ids of `heads` and all that came before them. Ids of other images are left out."""
        parents = {revision.id: revision.parents for revision in self.revisions}
        found: set[str] = set()
        left = [head for head in heads if head in parents]
        while left:
            found.add(head := left.pop())
            left.extend(parent for parent in parents[head] if parent not in found)
        return frozenset(found)

    def until(self, target: str) -> tuple[Revision, ...]:
        """The revisions up to and with `target` (an id, or `head`). Raises MigrationError when it isn't there."""
        if target == "head":
            return self.revisions
        if target not in self:
            raise MigrationError(f"This image has no revision {target!r}.", reason="RevisionUnknown")
        wanted = self.reached([target])
        return tuple(revision for revision in self.revisions if revision.id in wanted)


def read_chain(versions: Path = VERSIONS) -> Chain:
    """Read the revisions in `versions`. Raises MigrationError when they don't make one chain.

    They are parsed, not run: a service that only asks whether its schema is there needs no Alembic in memory.
    """
    found = {revision.id: revision for path in sorted(versions.glob("*.py")) for revision in _read(path)}
    missing = {parent for revision in found.values() for parent in revision.parents} - found.keys()
    if missing:
        raise MigrationError(
            f"The revisions in {versions} can't be read: there is no {', '.join(sorted(missing))}.",
            reason="RevisionsUnreadable",
        )
    heads = found.keys() - {parent for revision in found.values() for parent in revision.parents}
    if len(heads) > 1:
        raise MigrationError(
            f"The revisions have {len(heads)} heads ({', '.join(sorted(heads))}): "
            "change `down_revision` of one so that they follow each other, or merge them.",
            reason="MultipleHeads",
        )
    try:
        order = TopologicalSorter({id_: found[id_].parents for id_ in sorted(found)}).static_order()
        return Chain(tuple(found[id_] for id_ in order))
    except CycleError:
        raise MigrationError(
            f"The revisions in {versions} follow each other in a circle.", reason="RevisionsUnreadable"
        ) from None


def _read(path: Path) -> Iterator[Revision]:
    """The revision of one file; none for a module that declares none."""
    try:
        module = ast.parse(path.read_text(encoding="utf-8"), path.name)
        values = dict(_constants(module))
    except (SyntaxError, ValueError) as error:
        raise MigrationError(
            f"{path} can't be read: {type(error).__name__}: {error}.", reason="RevisionsUnreadable"
        ) from error
    if not isinstance(values.get("revision"), str):
        return
    kind = values.get("kind", "expand")
    if kind not in ("expand", "contract"):
        raise MigrationError(
            f"Revision {values['revision']}: kind is {kind!r}, must be 'expand' or 'contract'.",
            reason="RevisionsUnreadable",
        )
    message = " ".join((ast.get_docstring(module) or "").partition("Revision ID:")[0].split())
    yield Revision(values["revision"], kind, message, _ids(values, "down_revision") + _ids(values, "depends_on"))


def _constants(module: ast.Module) -> Iterator[tuple[str, Any]]:
    """What the module says about itself, `name = constant` or `name: type = constant`."""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            name = statement.target.id
        else:
            continue
        if name in DECLARATIONS:
            yield name, ast.literal_eval(cast("ast.expr", statement.value))


def _ids(values: dict[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name) or ()
    return (value,) if isinstance(value, str) else tuple(value)
