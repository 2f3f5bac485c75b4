"""`--reload`: which change of a file counts, also one that comes while a process starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn
from uvicorn.supervisors.statreload import StatReload

import slipway
from slipway.local.reload import _Reload, serve_with_reload


def nothing(_: object) -> None:
    return


def touch(file: Path, at: float) -> None:
    os.utime(file, (at, at))


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    file = tmp_path / "module.py"
    file.write_text("")
    touch(file, 1000)
    return file


@pytest.mark.parametrize("name", ["startup", "restart"])
def test_a_change_while_a_process_starts_is_seen_after_it(
    watched: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reload = _Reload(uvicorn.Config("slipway", reload=True, reload_dirs=[str(watched.parent)]), nothing, [])
    started: list[str] = []

    def start(_: StatReload) -> None:
        started.append(name)
        touch(watched, 2000)

    monkeypatch.setattr(StatReload, name, start)
    begin: Callable[[], None] = getattr(reload, name)
    begin()
    assert started == [name]
    assert reload.should_restart() == [watched]


def test_without_a_change_nothing_is_started_anew(watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reload = _Reload(uvicorn.Config("slipway", reload=True, reload_dirs=[str(watched.parent)]), nothing, [])
    monkeypatch.setattr(StatReload, "startup", nothing)
    reload.startup()
    assert not reload.should_restart()


def test_what_is_watched_is_the_package_and_what_is_run_is_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[list[Path], object]] = []
    monkeypatch.setattr(_Reload, "run", lambda self: ran.append((self.config.reload_dirs, self.target)))
    serve_with_reload(nothing)
    assert ran == [([Path(slipway.__file__).parent], nothing)]
