from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import kopf
import pytest
from kopf._core.actions.loggers import LocalObjectLogger

from slipway_operator import logs

log = logging.getLogger("slipway_operator.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    chatty = {name: logging.getLogger(name).level for name in ("kopf.objects", "asyncio", "aiohttp.access")}
    written = io.StringIO()
    logs.configure("INFO", written)
    yield written
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, its_level in chatty.items():
        logging.getLogger(name).setLevel(its_level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_line_with_every_field(stream: io.StringIO) -> None:
    log.info("hello %s\nand more", "there")
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "logger", "message", "resource", "exception"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["logger"]) == ("INFO", "slipway_operator.test")
    assert line["message"] == "hello there\nand more"
    assert line["resource"] is line["exception"] is None


async def test_lines_of_a_look_carry_its_resource_and_others_none(stream: io.StringIO) -> None:
    async def look(name: str) -> None:
        with logs.about("SchemaMigration", "shop", name):
            await asyncio.sleep(0)
            log.info("inside %s", name)

    await asyncio.gather(look("a"), look("b"))
    log.info("outside")
    assert [line["resource"] for line in lines(stream)] == [
        {"kind": "SchemaMigration", "namespace": "shop", "name": "a"},
        {"kind": "SchemaMigration", "namespace": "shop", "name": "b"},
        None,
    ]


def test_kopf_s_own_lines_carry_the_resource_that_it_tells(stream: io.StringIO) -> None:
    body = kopf.Body({"kind": "Job", "metadata": {"namespace": "shop", "name": "j", "uid": "u"}})  # type: ignore[typeddict-item]
    adapter = LocalObjectLogger(body=body, settings=kopf.OperatorSettings())
    adapter.warning("it is about a Job")
    adapter.info("Handler succeeded.")  # for each event: too much
    (line,) = lines(stream)
    assert line["resource"] == {"kind": "Job", "namespace": "shop", "name": "j"}


def test_an_exception_is_in_the_line_and_bounded_from_its_end(stream: io.StringIO) -> None:
    def broken() -> None:
        raise ValueError("a" * 50_000 + "the end")

    try:
        broken()
    except ValueError:
        log.exception("broken")
    (line,) = lines(stream)
    assert line["exception"].startswith("…")
    assert line["exception"].rstrip().endswith("the end")
    assert len(line["exception"]) == 16 * 1024 + 1


def test_a_message_is_bounded(stream: io.StringIO) -> None:
    for length in (8 * 1024, 8 * 1024 + 1):
        log.warning("a" * length)
    fits, cut = (line["message"] for line in lines(stream))
    assert (fits, cut) == ("a" * 8 * 1024, "a" * 8 * 1024 + "…")


def test_warnings_and_levels(stream: io.StringIO) -> None:
    log.debug("not at this level")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old" in line["message"]


def test_lines_after_a_look_are_about_nothing_any_more(stream: io.StringIO) -> None:
    with logs.about("KeyRing", "shop", "keys"), logs.about("KeyRing", "shop", "inner"):
        pass
    log.info("after it")
    assert lines(stream)[0]["resource"] is None
