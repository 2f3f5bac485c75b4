"""The revisions that an image brings, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import to_tuple

from slipway.migrations.errors import MigrationError

Kind = Literal["expand", "contract"]

ENVIRONMENT = Path(__file__).parent
VERSIONS = ENVIRONMENT / "versions"


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
            raise MigrationError(f"This image has no revision {target!r}.")
        wanted = self.reached([target])
        return tuple(revision for revision in self.revisions if revision.id in wanted)


def configuration(versions: Path = VERSIONS) -> Config:
    """Alembic's configuration for the environment of this package and the revisions in `versions`."""
    config = Config()
    config.set_main_option("script_location", _escaped(ENVIRONMENT))
    config.set_main_option("version_locations", _escaped(versions))
    config.set_main_option("path_separator", "newline")
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def read_chain(versions: Path = VERSIONS) -> Chain:
    """Read the revisions in `versions`. Raises MigrationError when they don't make one chain."""
    directory = ScriptDirectory.from_config(configuration(versions))
    try:
        heads = directory.get_heads()
        scripts = [*cast("Iterable[Script]", directory.walk_revisions())]
    except Exception as error:  # the revisions' own code runs while it is imported
        raise MigrationError(f"The revisions in {versions} can't be read: {type(error).__name__}: {error}.") from error
    if len(heads) > 1:
        raise MigrationError(
            f"The revisions have {len(heads)} heads ({', '.join(sorted(heads))}): "
            "change `down_revision` of one so that they follow each other, or merge them."
        )
    return Chain(tuple(_revision(script) for script in reversed(scripts)))


def _revision(script: Script) -> Revision:
    kind: Kind = getattr(script.module, "kind", "expand")
    if kind not in ("expand", "contract"):
        raise MigrationError(f"Revision {script.revision}: kind is {kind!r}, must be 'expand' or 'contract'.")
    parents = to_tuple(script.down_revision, default=()) + to_tuple(script.dependencies, default=())
    return Revision(script.revision, kind, " ".join((script.doc or "").split()), parents)
