"""Reading an image's revisions, and the frozen text of the job queue."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from servers.migration_images import Step, contract, image, table
from slipway.migrations.configuration import configuration
from slipway.migrations.errors import MigrationError
from slipway.migrations.script import VERSIONS, read_chain


def test_revisions_come_oldest_first_with_their_kind_and_message(tmp_path: Path) -> None:
    chain = read_chain(image(tmp_path, table("b"), contract("a", "b"), table("c")))
    assert [(revision.id, revision.kind) for revision in chain.revisions] == [
        ("b", "expand"),
        ("a", "contract"),
        ("c", "expand"),
    ]
    assert chain.revisions[0].message == "Step b."
    assert chain.head == "c"


@pytest.mark.parametrize(
    ("kinds", "needs"),
    [("", None), ("e", "r0"), ("ee", "r1"), ("ec", "r0"), ("ecc", "r0"), ("ecec", "r2"), ("ce", "r1"), ("c", None)],
)
def test_an_image_needs_its_last_expand_before_the_trailing_contracts(
    tmp_path: Path, kinds: str, needs: str | None
) -> None:
    steps = [Step(f"r{number}", kind="contract" if letter == "c" else "expand") for number, letter in enumerate(kinds)]
    assert read_chain(image(tmp_path, *steps)).needs == needs


def test_two_heads_are_refused_by_name(tmp_path: Path) -> None:
    image(tmp_path, table("a"), table("b"))
    (tmp_path / "other.py").write_text(table("rival").module("a"))
    with pytest.raises(MigrationError, match=r"2 heads \(b, rival\)"):
        read_chain(tmp_path)


def test_merged_branches_are_one_chain_again(tmp_path: Path) -> None:
    image(tmp_path, table("a"), table("b"))
    (tmp_path / "other.py").write_text(table("rival").module("a"))
    (tmp_path / "merge.py").write_text(Step("merged").module("b").replace("= 'b'", "= ('b', 'rival')"))
    chain = read_chain(tmp_path)
    assert {chain.revisions[0].id, chain.head} == {"a", "merged"}
    assert chain.reached(["b"]) == {"a", "b"}
    assert {revision.id for revision in chain.until("rival")} == {"a", "rival"}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Step("a", kind="contrakt").module(None), "kind is 'contrakt'"),
        (Step("a").module("nowhere"), "can't be read"),
        ("revision = name()\ndown_revision = None", "can't be read: ValueError"),
        ("revision = 'a'\ndown_revision = 'a'", "in a circle"),
        ("def upgrade(:", "can't be read: SyntaxError"),
    ],
)
def test_revisions_that_make_no_chain_are_refused_with_a_sentence(tmp_path: Path, broken: str, sentence: str) -> None:
    (tmp_path / "a.py").write_text(broken)
    with pytest.raises(MigrationError, match=sentence):
        read_chain(tmp_path)


def test_a_folder_with_a_percent_sign_is_fine(tmp_path: Path) -> None:
    assert read_chain(image(tmp_path / "100% new", table("a"))).head == "a"


def test_the_service_own_revisions_follow_each_other() -> None:
    chain = read_chain()
    assert chain.revisions[0].id == "0001"
    assert all(later.parents == (earlier.id,) for earlier, later in itertools.pairwise(chain.revisions))


def test_it_reads_what_alembic_itself_reads(tmp_path: Path) -> None:
    for folder in (VERSIONS, image(tmp_path, table("a"), contract("b", "a"), table("c"))):
        scripts = ScriptDirectory.from_config(configuration(folder)).walk_revisions()
        theirs = [(script.revision, script.down_revision) for script in scripts]
        ours = [(revision.id, (revision.parents or (None,))[0]) for revision in read_chain(folder).revisions]
        assert ours == theirs[::-1]


def test_annotated_declarations_of_a_plain_alembic_template_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""First step\n\nRevision ID: a\nRevises:\n"""\n'
        "from typing import Sequence, Union\n"
        "revision: str = 'a'\ndown_revision: Union[str, None] = None\nbranch_labels: Union[str, None] = None\n"
    )
    assert [(revision.id, revision.message) for revision in read_chain(tmp_path).revisions] == [("a", "First step")]


def test_the_service_loads_no_alembic_to_look_at_its_gate() -> None:
    code = "import sys, slipway.migrations.gate; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
