"""What whoever runs a process is told of its files, its passwords, its tokens and its trace collector."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import Counter, Gauge

from servers.told import counted, records, said
from servers.waiting import until
from slipway.auth.keys import KeyStore, generate_keys
from slipway.auth.passwords import PasswordHasher
from slipway.auth.tokens import Tokens
from slipway.settings import MIB, Settings
from slipway.storage import files
from slipway.storage.files import MAX_FILES, Files, FilesError, WatchedFolder, Watcher, read_folder
from slipway.telemetry import exporting
from slipway.telemetry.exporting import WatchedExporter


def parse(content: Files) -> bytes:
    if content["one"] == b"bad":
        raise FilesError("One is bad.")
    if content["one"] == b"worse":
        raise KeyError("hush")
    return content["one"]


async def test_new_files_are_one_line_and_refused_ones_an_error_that_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").write_text("first")
    watched = WatchedFolder("told", tmp_path, parse)
    with caplog.at_level(logging.INFO, "slipway.files"):
        for text in ("second", "bad", "worse"):
            (tmp_path / "one").write_text(text)
            for _ in range(4):
                await watched.look()
    new, refused = ("INFO", "New files are in use."), "New files were refused; the last good ones stay in use."
    assert said(caplog, "slipway.files") == [new, ("ERROR", refused), ("ERROR", refused)]
    reasons = [record.__dict__.get("reason") for record in records(caplog, "slipway.files")]
    assert reasons == [None, "One is bad.", "KeyError"], "only our own sentences are sure not to quote files"
    assert {record.__dict__["set"] for record in records(caplog, "slipway.files")} == {"told"}
    assert watched.accepted == b"second"


async def test_a_look_that_fails_for_no_reason_of_ours_is_an_error_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").write_text("first")
    watcher = Watcher(0.01, [WatchedFolder("told", tmp_path, parse)])

    def fail(_: Path) -> Files:
        raise RuntimeError

    monkeypatch.setattr(files, "read_folder", fail)
    watcher.start()
    await until(lambda: records(caplog, "slipway.files"))
    await watcher.stop()
    record = records(caplog, "slipway.files")[0]
    assert (record.levelname, record.message) == ("ERROR", "A folder could not be looked at.")
    assert (record.__dict__["set"], record.exc_info is not None) == ("told", True)


def test_a_folder_of_too_many_files_is_refused_and_one_of_just_so_many_is_read(tmp_path: Path) -> None:
    for number in range(MAX_FILES):
        (tmp_path / str(number)).write_text("")
    assert len(read_folder(tmp_path)) == MAX_FILES
    (tmp_path / "one more").write_text("")
    with pytest.raises(FilesError, match="at most"):
        read_folder(tmp_path)


async def test_hashing_and_comparing_are_measured_each() -> None:
    hasher = PasswordHasher(Settings(password_memory=8 * MIB, password_iterations=1))
    try:
        with counted("slipway_password_hash_seconds_count"):
            stored = await hasher.hash("correct horse battery")
        with counted("slipway_password_hash_seconds_count"):
            await hasher.verify("another one", stored)
    finally:
        hasher.close()


def test_a_rejected_token_is_a_line_for_who_looks_closely_without_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Tokens(Settings(), KeyStore(generate_keys(tmp_path)))
    with caplog.at_level(logging.DEBUG, "slipway.tokens"):
        assert ours.identify("no.token.hush") is None
    assert said(caplog, "slipway.tokens") == [("DEBUG", "A token was rejected.")]
    assert records(caplog, "slipway.tokens")[0].__dict__["reason"] == "malformed"
    assert "hush" not in caplog.text


class Collector(SpanExporter):
    """Takes spans, refuses them, or fails, in turn."""

    def __init__(self, answers: list[SpanExportResult | Exception]) -> None:
        self.answers = answers
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None:
        self.closed = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return timeout_millis == 1


def test_a_collector_that_goes_and_comes_back_is_told_once_each_and_every_lost_batch_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Its own: exporters of other tests may still be giving up.
    lost, degraded = Counter("lost", "", registry=None), Gauge("degraded", "", ("dependency",), registry=None)
    monkeypatch.setattr(exporting, "EXPORT_FAILURES", lost)
    monkeypatch.setattr(exporting, "DEGRADED", degraded)
    taken, refused = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    collector = Collector([taken, refused, RuntimeError("hush"), taken, taken, refused])
    watched = WatchedExporter(collector)
    states: list[object] = []
    with caplog.at_level(logging.INFO, "slipway.telemetry"):
        for _ in range(6):
            states.append(watched.export([]))
            states.append(degraded.labels("collector")._value.get())  # noqa: SLF001 - the metric's own value
    assert states == [taken, 0, refused, 1, refused, 1, taken, 0, taken, 0, refused, 1]
    assert lost._value.get() == 3  # noqa: SLF001
    away = ("WARNING", "The trace collector doesn't take spans; they are dropped until it does.")
    assert said(caplog, "slipway.telemetry") == [away, ("INFO", "The trace collector takes spans again."), away]
    assert "hush" not in caplog.text
    assert (watched.force_flush(1), watched.force_flush()) == (True, False)
    watched.shutdown()
    assert collector.closed
    WatchedExporter(collector)
    assert degraded.labels("collector")._value.get() == 0  # noqa: SLF001


async def test_a_stopped_watcher_has_no_task_left(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first")
    before = asyncio.all_tasks()
    watcher = Watcher(60, [WatchedFolder("told", tmp_path, parse)])
    watcher.start()
    assert asyncio.all_tasks() - before
    await watcher.stop()
    assert asyncio.all_tasks() == before
