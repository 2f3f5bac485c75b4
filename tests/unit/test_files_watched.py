"""Mounted folders: new sets are taken, bad ones refused, and the last good one stays."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from servers.waiting import until
from slipway.storage import files
from slipway.storage.files import MAX_BYTES, Files, FilesError, WatchedFolder, Watcher, read_folder
from slipway.storage.login import Login, LoginError
from slipway.telemetry.registry import REGISTRY


def parse(content: Files) -> str:
    """Two halves that must agree, as a key set and the id that signs."""
    left, right = content.get("left", b"").decode(), content.get("right", b"").decode()
    if not left or left != right:
        raise FilesError("The halves don't agree.")
    return left


def write(folder: Path, left: str, right: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "left").write_text(left)
    (folder / "right").write_text(right)


def swap(folder: Path, generation: str, left: str, right: str) -> None:
    """What the kubelet does: a new hidden folder, and one rename of a link to it."""
    write(folder / generation, left, right)
    link = folder / "..data_tmp"
    link.symlink_to(generation)
    link.rename(folder / "..data")
    for name in ("left", "right"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def counted(result: str, name: str = "halves") -> float:
    return REGISTRY.get_sample_value("slipway_file_reloads_total", {"set": name, "result": result}) or 0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "one", "one")
    return tmp_path


async def test_an_overwritten_set_is_taken_once_two_looks_agree(folder: Path) -> None:
    watched = WatchedFolder("halves", folder, parse)
    accepted = counted("accepted")
    write(folder, "two", "two")
    assert [await watched.look() for _ in range(3)] == [False, True, False]
    assert (watched.accepted, counted("accepted")) == ("two", accepted + 1)


async def test_a_swapped_set_is_taken_at_once(tmp_path: Path) -> None:
    swap(tmp_path, "..1", "one", "one")
    watched = WatchedFolder("halves", tmp_path, parse)
    swap(tmp_path, "..2", "two", "two")
    assert await watched.look()
    assert watched.accepted == "two"


async def test_a_renamed_file_counts_although_its_time_stamp_is_older(folder: Path) -> None:
    watched = WatchedFolder("halves", folder, lambda content: content["left"])
    (folder / ".left").write_text("two")
    os.utime(folder / ".left", (0, 0))
    (folder / ".left").rename(folder / "left")
    await watched.look()
    assert await watched.look()
    assert watched.accepted == b"two"


async def test_a_swap_is_read_as_a_whole_even_when_it_happens_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap(tmp_path, "..1", "one", "one")
    read = files.read_file

    def swapped_after_reading(path: Path) -> bytes:
        content = read(path)
        if not (tmp_path / "..2").exists():
            swap(tmp_path, "..2", "two", "two")
        return content

    monkeypatch.setattr(files, "read_file", swapped_after_reading)
    assert read_folder(tmp_path) == {"left": b"one", "right": b"one"}
    assert read_folder(tmp_path) == {"left": b"two", "right": b"two"}


async def test_a_refused_set_leaves_the_last_good_one_and_is_reported_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = WatchedFolder("halves", folder, parse)
    refused = counted("refused")
    write(folder, "top-secret", "one")
    with caplog.at_level(logging.INFO, "slipway.files"):
        assert not any([await watched.look() for _ in range(4)])
    assert (watched.accepted, counted("refused")) == ("one", refused + 1)
    assert [record.reason for record in caplog.records] == ["The halves don't agree."]  # type: ignore[attr-defined]
    assert "top-secret" not in caplog.text
    write(folder, "two", "two")
    assert [await watched.look() for _ in range(2)] == [False, True]


async def test_between_two_files_a_set_is_not_taken_although_it_parses(folder: Path) -> None:
    watched = WatchedFolder("pair", folder, lambda content: (content["left"], content["right"]))
    (folder / "left").write_text("two")
    assert not await watched.look()
    (folder / "right").write_text("two")
    assert not await watched.look()
    assert await watched.look()
    assert watched.accepted == (b"two", b"two")


async def test_without_waiting_for_two_looks_a_mixed_pair_would_be_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "is_swapped_as_a_whole", lambda _: True)
    watched = WatchedFolder("pair", folder, lambda content: (content["left"], content["right"]))
    (folder / "left").write_text("two")
    assert await watched.look()
    assert watched.accepted == (b"two", b"one")


async def test_a_set_that_cannot_be_applied_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FIRST_PAUSE", 0.0)
    applied: list[str] = []
    working = asyncio.Event()

    async def apply(value: str) -> None:
        if not working.is_set():
            raise ConnectionRefusedError("postgresql://app:secret@db")
        applied.append(value)

    watched = WatchedFolder("halves", folder, parse, apply)
    write(folder, "two", "two")
    assert not any([await watched.look() for _ in range(3)])
    assert watched.accepted == "one"
    working.set()
    assert await watched.look()
    assert (applied, watched.accepted) == (["two"], "two")


async def refused_applications(folder: Path, looks: int) -> list[str]:
    """What was tried in so many looks at a set that can't be applied, and then at another one."""
    tried: list[str] = []

    async def refuse(value: str) -> None:
        tried.append(value)
        raise ConnectionRefusedError

    watched = WatchedFolder("halves", folder, parse, refuse)
    for value in ("two", "three"):
        write(folder, value, value)
        for _ in range(looks):
            await watched.look()
    return tried


async def test_a_refused_login_is_not_tried_at_every_look_but_a_changed_one_at_once(folder: Path) -> None:
    assert await refused_applications(folder, looks=6) == ["two", "three"]


async def test_without_a_pause_it_would_be_tried_at_every_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FIRST_PAUSE", 0.0)
    assert await refused_applications(folder, looks=6) == ["two"] * 5 + ["three"] * 5


async def test_a_folder_that_hangs_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    write(tmp_path / "slow", "one", "one")
    write(tmp_path / "quick", "one", "one")
    hanging = asyncio.Event()

    async def hang(_: str) -> None:
        hanging.set()
        await asyncio.Event().wait()

    slow = WatchedFolder("slow", tmp_path / "slow", parse, hang)
    quick = WatchedFolder("quick", tmp_path / "quick", parse)
    watcher = Watcher(0.01, [slow, quick])
    watcher.start()
    write(tmp_path / "slow", "two", "two")
    await asyncio.wait_for(hanging.wait(), 5)
    write(tmp_path / "quick", "two", "two")
    await until(lambda: quick.accepted == "two")
    await watcher.stop()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": b"x", "b": b"y"}, {"a": b"y", "b": b"x"}),
        ({"a": b"x"}, {"b": b"x"}),
        ({"a": b"xy"}, {"a": b"x", "y": b""}),
        ({"a": b"x", "b": b"y"}, {"a": b"xb\x001\x00y"}),
        ({"a": b"xb\x00y"}, {"a": b"x", "b": b"y"}),
        ({"a": b"", "b": b"x"}, {"a": b"x", "b": b""}),
    ],
)
def test_sets_of_other_names_or_other_bounds_between_files_are_told_apart(before: Files, after: Files) -> None:
    assert files._digest(before) != files._digest(after)  # noqa: SLF001 - as looks compare them


async def test_a_file_name_that_is_no_utf8_does_not_disturb(folder: Path) -> None:
    watched = WatchedFolder("halves", folder, parse)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_text("")
    write(folder, "two", "two")
    assert [await watched.look() for _ in range(2)] == [False, True]


async def test_the_watcher_survives_a_look_that_fails_for_whatever_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = WatchedFolder("halves", folder, parse)
    failing = asyncio.Event()

    def fail(_: Path) -> Files:
        failing.set()
        raise RuntimeError

    watcher = Watcher(0.01, [watched])
    with monkeypatch.context() as patched:
        patched.setattr(files, "read_folder", fail)
        watcher.start()
        await asyncio.wait_for(failing.wait(), 5)
    write(folder, "two", "two")
    await until(lambda: watched.accepted == "two")
    await watcher.stop()


async def test_a_folder_that_vanishes_or_grows_too_large_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watched = WatchedFolder("halves", folder, parse)
    (folder / "left").write_bytes(b"x" * (MAX_BYTES + 1))
    assert [await watched.look() for _ in range(2)] == [False, False]
    away = tmp_path_factory.mktemp("away") / "moved"
    folder.rename(away)
    assert await watched.look() is False
    assert watched.accepted == "one"


def test_a_process_does_not_start_on_a_bad_set(folder: Path) -> None:
    write(folder, "one", "two")
    with pytest.raises(FilesError):
        WatchedFolder("halves", folder, parse)
    with pytest.raises(FilesError):
        WatchedFolder("halves", folder / "nowhere", parse)


async def test_the_watcher_looks_until_it_is_stopped(folder: Path) -> None:
    watched = WatchedFolder("halves", folder, parse)
    watcher = Watcher(0.01, [watched])
    watcher.start()
    write(folder, "two", "two")
    await until(lambda: watched.accepted == "two")
    await watcher.stop()
    write(folder, "three", "three")
    await asyncio.sleep(0.05)
    assert watched.accepted == "two"


BINDING = {"host": b"db\n", "port": b"5433", "database": b"app", "username": b"app_a", "password": b" p\n"}


def test_service_binding_files_make_a_login() -> None:
    login = Login.from_contents(BINDING)
    assert (login.host, login.port, login.database, login.username) == ("db", 5433, "app", "app_a")
    assert login.password.get_secret_value() == "p"


def test_a_uri_is_used_where_files_are_missing() -> None:
    login = Login.from_contents({"uri": b"postgresql://app_b:p%40ss@db:5434/app", "username": b"app_b"})
    assert (login.username, login.port, login.password.get_secret_value()) == ("app_b", 5434, "p@ss")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": b""}, "lacks: password"),
        ({"host": b"", "username": b""}, "lacks: host, username"),
        ({"port": b"five"}, "no port number"),
        ({"port": b"70000"}, "no port number"),
        ({"username": b"\xff"}, "no UTF-8"),
        ({"host": b"", "uri": b"mysql://app:top-secret@db/app"}, "postgresql://"),
        ({"host": b"", "uri": b"postgresql://app:top-secret@[db/app"}, "a host that is none"),
        ({"host": b"", "uri": b"postgresql://app:top-secret@db:x/app"}, "no number"),
    ],
)
def test_credentials_that_make_no_login_are_refused_without_being_shown(change: dict[str, bytes], reason: str) -> None:
    with pytest.raises(LoginError) as caught:
        Login.from_contents(BINDING | change)
    assert reason in str(caught.value)
    assert "top-secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
