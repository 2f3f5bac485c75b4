"""The faults that a mutation run puts into the code: real ones, one at a time, where it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mutants.covering import Chosen, Covering, FailingError, measured
from mutants.faults import faults, touched
from mutants.trying import passes, tried

SOURCE = b'''
def least(values, limit=3):
    """Not more than `limit`."""
    if not values or limit <= 0:
        raise ValueError("none")
    found = sorted(values)[:limit]
    log.warning("found %d", len(found))
    return min(found) + 1 if "a" not in values else None
'''


def test_each_fault_is_another_text_that_python_reads() -> None:
    found = faults(SOURCE)
    texts = {fault.put_into(SOURCE) for fault in found}
    for text in texts:
        compile(text, "made wrong", "exec")
    assert len(texts) == len(found) > 15
    assert SOURCE not in texts


@pytest.mark.parametrize(
    "wrong",
    [
        b"limit < 0", b"limit=30", b"limit=4", b"values and limit", b"(not (not values or limit <= 0))", b"max(found)",
        b"- 1 if", b'"a" in values', b"log.debug(", b"        pass\n    found", b"    return None\n",
    ],
)  # fmt: skip
def test_bounds_conditions_results_and_diagnostics_are_made_wrong(wrong: bytes) -> None:
    assert any(wrong in fault.put_into(SOURCE) for fault in faults(SOURCE))


def test_a_fault_names_its_line() -> None:
    lines = SOURCE.decode().splitlines()
    for fault in faults(SOURCE):
        wrong = fault.put_into(SOURCE).decode().splitlines()
        assert wrong[fault.line - 1] != lines[fault.line - 1]
        assert wrong[: fault.line - 1] == lines[: fault.line - 1]


def test_docstrings_and_annotations_are_left_alone() -> None:
    assert faults(b'def f(a: "x | y") -> int | None:\n    """1 < 2."""\n    b: int | str\n') == []


def test_the_lines_that_a_change_added_are_told() -> None:
    patch = (
        "+++ b/service/a.py\n@@ -1,0 +3,2 @@\n+one\n+two\n@@ -9 +12 @@\n-gone\n+three\n"
        "+++ b/operator/b.py\n@@ -0,0 +1 @@\n+x\n"
    )
    assert list(touched(patch)) == [
        ("service/a.py", 3),
        ("service/a.py", 4),
        ("service/a.py", 12),
        ("operator/b.py", 1),
    ]


CODE = "LIMIT = 3\n\ndef few(n):\n    return n < LIMIT\n\ndef many(n):\n    return n > LIMIT\n"
FEW = "from slipway.paging import few\n\ndef test_few():\n    assert few(2)\n"
MANY = "from slipway.paging import many\n\ndef test_many():\n    assert many(4)\n"
LIMIT = "from slipway import paging\n\ndef test_limit():\n    assert paging.LIMIT == 3\n"
APART = "import subprocess\nimport slipway\n\ndef test_slipway():\n    assert subprocess\n"
OPERATORS = "import subprocess\nimport slipway_operator\n\ndef test_operator():\n    assert subprocess\n"
READS = "import ast\n\ndef test_read():\n    assert ast\n"


def tree(root: Path, few: str = FEW) -> Path:
    """A project in little."""
    texts = {
        "service/slipway/__init__.py": "",
        "service/slipway/paging.py": CODE,
        "operator/slipway_operator/__init__.py": "",
        "tests/unit/test_few.py": few,
        "tests/unit/test_limit.py": LIMIT,
        "tests/unit/test_apart.py": APART,
        "tests/unit/test_operators.py": OPERATORS,
        "tests/unit/test_reads.py": READS,
        "tests/integration/test_many.py": MANY,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n',
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_the_tests_that_run_a_line_are_found_and_those_that_start_processes(tmp_path: Path) -> None:
    root = tree(tmp_path)
    covering = Covering(root, measured(root))
    in_few, of_all = covering.tests("service/slipway/paging.py", 4), covering.tests("service/slipway/paging.py", 1)
    assert in_few == Chosen(
        ("tests/unit/test_few.py::test_few",), ("tests/unit/test_apart.py", "tests/unit/test_reads.py")
    )
    assert set(of_all.covering) == {
        "tests/unit/test_few.py",
        "tests/unit/test_limit.py",
        "tests/integration/test_many.py",
    }
    file = root / "service/slipway/paging.py"
    for wrong, verdict in (("n <= LIMIT", "survived"), ("n > LIMIT", "noticed")):
        file.write_text(CODE.replace("n < LIMIT", wrong))
        assert tried(root, in_few) == verdict


def test_nothing_is_shown_by_tests_that_fail_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FailingError, match="assert few"):
        measured(tree(tmp_path, FEW.replace("few(2)", "few(9)")))


@pytest.mark.parametrize(("line", "passed"), [("assert True", True), ("assert False", False)])
def test_a_run_tells_whether_the_copys_tests_pass(tmp_path: Path, line: str, *, passed: bool) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {line}\n")
    assert passes(tmp_path, ["test_it.py"], 60) is passed


def test_a_run_that_hangs_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import threading\n\ndef test_it():\n    threading.Event().wait()\n")
    assert not passes(tmp_path, ["test_it.py"], 0.5)


def test_what_a_run_leaves_behind_is_ended(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pathlib, subprocess, sys\n\ndef test_it():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "    pathlib.Path('child').write_text(str(child.pid))\n"
    )
    assert passes(tmp_path, ["test_it.py"], 60)
    child = (tmp_path / "child").read_text()
    told = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True, check=False)
    assert told.stdout.strip()[:1] in ("", "Z")
