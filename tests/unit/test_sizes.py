"""How large the parts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sizes import counted, lines, part_of, report


def test_blanks_and_comments_are_no_lines_and_docstrings_are() -> None:
    assert lines('"""What."""\n\n# why\nx = 1  # so\n   # indented\n\n') == 2


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("service/slipway/app.py", ("service", ".")),
        ("service/slipway/edge/edge.py", ("service", "edge")),
        ("service/slipway/migrations/versions/0001.py", ("engine", "migrations")),
        ("operator/slipway_operator/migrations/decide.py", ("operator", "migrations")),
        ("operator/slipway_operator/migrations/plain_alembic/plain_plan.py", ("engine", "migrations")),
    ],
)
def test_each_file_belongs_to_one_part(path: str, part: tuple[str, str]) -> None:
    assert part_of(path) == part


def test_parts_are_told_with_their_aims_and_their_largest_packages_first(tmp_path: Path) -> None:
    for path, text in (("app.py", "a\n"), ("edge/a.py", "a\nb\n"), ("edge/b.py", "c\n")):
        (tmp_path / "service/slipway" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "service/slipway" / path).write_text(text)
    told = list(report(counted(tmp_path)))
    assert told[:3] == ["service: 4 lines, aim 6800", "     3 edge", "     1 ."]
