"""`slipway db revision`: what the models have and the database lacks becomes a revision that runs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import ARRAY, Column, DateTime, ForeignKey, Index, Integer, MetaData, Table, Text, Uuid

from servers.databases import TestDatabase
from servers.migration_images import Step, image, owner_settings, session
from slipway.cli import root
from slipway.local import revisions
from slipway.local.revisions import slug, write_revision
from slipway.migrations.errors import MigrationError
from slipway.migrations.runner import upgrade
from slipway.migrations.script import read_chain
from slipway.storage.models import words_of

FIRST = Step("0001", ["CREATE TABLE shelves (id uuid PRIMARY KEY)", "CREATE TABLE left_alone (id int)"])


def models() -> MetaData:
    """A column more than the database's table has, and a table more."""
    metadata = MetaData()
    Table("shelves", metadata, Column("id", Uuid, primary_key=True), Column("width", Integer, index=True))
    boxes = Table(
        "boxes",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("shelf_id", Uuid, ForeignKey("shelves.id", ondelete="CASCADE"), nullable=False),
        Column("label", Text, nullable=False, unique=True),
        Column("made_at", DateTime(timezone=True), index=True),
        Column("tags", ARRAY(Text), nullable=False),
    )
    Index("boxes_words", words_of(boxes.c.label, boxes.c.label), postgresql_using="gin")
    return metadata


@pytest.mark.parametrize("kind", ["expand", "contract"])
async def test_a_written_revision_runs_and_nothing_is_left_to_write(
    empty_database: TestDatabase, tmp_path: Path, kind: str
) -> None:
    settings, versions = owner_settings(empty_database), image(tmp_path, FIRST)
    await upgrade(settings, versions=versions)
    path = await write_revision(settings, "Boxes on shelves", kind, versions, models())  # type: ignore[arg-type]
    assert path.name == "0002_boxes_on_shelves.py"
    last = read_chain(versions).revisions[-1]
    assert (last.id, last.kind, last.parents, last.message) == ("0002", kind, ("0001",), "Boxes on shelves.")
    await upgrade(settings, versions=versions)
    async with session(empty_database.url_owner) as connection:
        rows = await connection.fetch(
            "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name IN ('shelves', 'boxes', 'left_alone')"
        )
    columns = {"shelves.id", "shelves.width", "left_alone.id"}
    assert {row[0] for row in rows} == columns | {
        "boxes.id",
        "boxes.shelf_id",
        "boxes.label",
        "boxes.made_at",
        "boxes.tags",
    }
    async with session(empty_database.url_owner) as connection:
        indexes = {row[0] for row in await connection.fetch("SELECT indexname FROM pg_indexes")}
        kinds = {row[0] for row in await connection.fetch("SELECT contype FROM pg_constraint WHERE conrelid > 0")}
    assert {"ix_shelves_width", "boxes_words", "ix_boxes_made_at"} <= indexes
    assert {b"f", b"u"} <= kinds
    assert "\n    # Of a table in use: create_index_concurrently" in path.read_text()
    assert "# ###" not in path.read_text()
    upgraded = models()
    Table("crates", upgraded, Column("id", Uuid, primary_key=True), Column("made_at", DateTime, index=True))
    new = await write_revision(settings, "Crates", "expand", versions, upgraded)
    assert "op.create_index(" in new.read_text()
    assert "in use" not in new.read_text()
    new.unlink()
    empty = await write_revision(settings, "Nothing", "expand", versions, models())
    assert "pass  # the models ask for nothing" in empty.read_text()
    ast.parse(empty.read_text())


async def test_a_database_that_is_behind_is_brought_up_first(empty_database: TestDatabase, tmp_path: Path) -> None:
    versions = image(tmp_path, FIRST)
    with pytest.raises(MigrationError, match="The database is at nothing, the revisions end with 0001: bring it up"):
        await write_revision(owner_settings(empty_database), "Boxes", "expand", versions, models())
    assert len(list(versions.glob("*.py"))) == 1


async def test_a_folder_that_can_not_be_written_is_named(empty_database: TestDatabase, tmp_path: Path) -> None:
    versions = image(tmp_path, FIRST)
    await upgrade(owner_settings(empty_database), versions=versions)
    (versions / "0002_boxes.py").write_text("")
    with pytest.raises(MigrationError, match=r"0002_boxes\.py can't be written: File exists\."):
        await write_revision(owner_settings(empty_database), "Boxes", "expand", versions, models())


def test_the_kind_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def write(_settings: object, message: str, kind: str) -> Path:
        asked.append((message, kind))
        return tmp_path / "0006_boxes.py"

    monkeypatch.setattr(revisions, "write_revision", write)
    done = CliRunner().invoke(root, ["db", "revision", "-m", "Boxes"], input="contract\n")
    assert asked == [("Boxes", "contract")]
    assert "still work after it (expand), or not (contract)?" in done.output
    assert f"Written: {tmp_path / '0006_boxes.py'}" in done.output


@pytest.mark.parametrize(
    ("message", "name"), [("Boxes, on shelves!", "boxes_on_shelves"), ("…", "revision"), ("x" * 60, "x" * 40)]
)
def test_a_message_becomes_the_name_of_a_file(message: str, name: str) -> None:
    assert slug(message) == name
