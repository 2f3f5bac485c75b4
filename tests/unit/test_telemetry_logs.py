"""Log lines: their form, their order, and what they never hold."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator

import pydantic
import pytest
from sqlalchemy.exc import IntegrityError

from servers.asgi import Lines
from servers.waiting import until
from slipway.context.request import RequestContext, current
from slipway.settings import Settings
from slipway.telemetry import redaction
from slipway.telemetry.logs import MOST_WAITING, LineWriter, as_line, configure_logging

log = logging.getLogger("slipway.test")

FIELDS = [
    "timestamp", "level", "logger", "message", "module", "function", "line", "request_id", "user_id", "duration_ms",
    "trace_id", "span_id", "exception",
]  # fmt: skip


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging as the service configures it, on a stream of the test's; put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Lines()
    configure_logging(Settings(), stream)  # type: ignore[arg-type]
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_record_is_one_json_line_with_every_field(lines: Lines) -> None:
    log.info("hello %s", "there")
    (line,) = lines.all()
    assert list(line) == FIELDS
    assert line["message"] == "hello there"
    assert line["function"] == "test_a_record_is_one_json_line_with_every_field"
    assert line["timestamp"].endswith("Z")
    assert line["request_id"] is None


def test_a_record_of_a_request_carries_its_ids(lines: Lines) -> None:
    context = RequestContext("r-1")
    context.user_id, context.trace_id, context.span_id = "u-1", "t" * 32, "s" * 16
    token = current.set(context)
    log.warning("inside", extra={"duration_ms": 1.5, "attempt": 3})
    current.reset(token)
    (line,) = lines.all()
    ids = (line["request_id"], line["user_id"], line["trace_id"], line["span_id"])
    assert ids == ("r-1", "u-1", "t" * 32, "s" * 16)
    assert (line["duration_ms"], line["attempt"]) == (1.5, 3)


def test_an_extra_field_cannot_replace_one_of_ours(lines: Lines) -> None:
    log.info("x", extra={"request_id": "forged"})
    assert lines.all()[0]["request_id"] is None
    assert lines.all()[0]["extra_request_id"] == "forged"


def test_records_of_libraries_come_out_in_the_same_form_and_uvicorns_access_log_is_off(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").warning("reset")
    logging.getLogger("uvicorn.access").info("GET / 200")
    assert [line["logger"] for line in lines.all()] == ["uvicorn.error"]


def test_warnings_are_lines_too(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("mind this", UserWarning, stacklevel=1)
    assert "mind this" in lines.all()[0]["message"]


def test_less_than_the_least_level_is_not_written(lines: Lines) -> None:
    log.debug("quiet")
    assert lines.all() == []


def test_an_exception_stands_on_its_line(lines: Lines) -> None:
    _log_failure(lambda: {}["nope"])
    (line,) = lines.all()
    assert line["exception"].startswith("Traceback")
    assert "KeyError: 'nope'" in line["exception"]


SECRETS = {
    "password": "hunter2-pw",
    "new_password": "hunter2-new",
    "Authorization": "Bearer hunter2-bearer",
    "refresh_token": "hunter2-refresh",
    "client_secret": "hunter2-secret",
    "cookie": "hunter2-cookie",
    "nested": {"deep": [{"access_token": "hunter2-nested"}]},
    "url": "postgresql://app:hunter2-url@db:5432/slipway",
    "text": "sent Bearer hunter2-in-text",
}


def test_secrets_are_masked_wherever_they_stand(lines: Lines) -> None:
    log.info("connecting to redis://:hunter2-message@cache password=hunter2-words", extra=SECRETS)
    assert "hunter2" not in lines.text
    assert "postgresql://[redacted]@db:5432/slipway" in lines.text


def test_without_redaction_secrets_would_be_in_the_line(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.telemetry.logs.redact", lambda value: value)
    monkeypatch.setattr("slipway.telemetry.logs.redact_text", lambda text: text)
    monkeypatch.setattr("slipway.telemetry.logs.is_secret_name", lambda _name: False)
    log.info("x", extra=SECRETS)
    assert lines.text.count("hunter2") == len(SECRETS)


class Registration(pydantic.BaseModel):
    name: int


PRIVATE = "hunter2-" + "value"


def _database_error() -> None:
    original = Exception(f"duplicate key\nDETAIL:  Failing row contains (1, {PRIVATE}).")
    raise IntegrityError("INSERT INTO users …", {"hash": PRIVATE}, original)


def _validation_error() -> None:
    Registration.model_validate({"name": PRIVATE})


@pytest.mark.parametrize("fail", [_database_error, _validation_error])
def test_exceptions_do_not_quote_the_values_they_were_given(lines: Lines, fail: Callable[[], None]) -> None:
    _log_failure(fail)
    assert "Traceback" in lines.text
    assert PRIVATE not in lines.text


@pytest.mark.parametrize("fail", [_database_error, _validation_error])
def test_without_redaction_exceptions_quote_values(
    lines: Lines, fail: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.telemetry.logs.redact_text", lambda text: text)
    _log_failure(fail)
    assert PRIVATE in lines.text


def _log_failure(fail: Callable[[], None]) -> None:
    try:
        fail()
    except Exception:
        log.exception("failed")


def test_a_token_is_masked_even_without_a_name(lines: Lines) -> None:
    log.info("got eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")
    assert lines.all()[0]["message"] == f"got {redaction.REDACTED}"


@pytest.mark.parametrize("value", ["\udcff", 2**70, object(), {1: 2}, b"\xff", float("nan")])
def test_any_value_makes_a_line(value: object) -> None:
    assert as_line({"value": value}).endswith(b"\n")


async def test_lines_written_soon_come_out_together_and_in_order() -> None:
    stream = Lines()
    writer = LineWriter(stream)  # type: ignore[arg-type]
    writer.write_soon(b'{"n":1}\n')
    writer.write_soon(b'{"n":2}\n')
    assert stream.text == ""
    writer.write(b'{"n":3}\n')
    assert [line["n"] for line in stream.all()] == [1, 2, 3]
    writer.write_soon(b'{"n":4}\n')
    await until(lambda: len(stream.all()) == 4)


async def test_waiting_lines_have_a_limit() -> None:
    stream = Lines()
    writer = LineWriter(stream)  # type: ignore[arg-type]
    for _ in range(MOST_WAITING):
        writer.write_soon(b"{}\n")
    assert len(stream.all()) == MOST_WAITING
    writer.close()


async def test_lines_of_other_threads_are_neither_lost_nor_doubled() -> None:
    stream = Lines()
    writer = LineWriter(stream)  # type: ignore[arg-type]
    threads = [
        threading.Thread(target=lambda: [writer.write(b"{}\n") for _ in range(200)], daemon=True) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for _ in range(200):
        writer.write_soon(b"{}\n")
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    writer.close()
    assert len(stream.all()) == 800


def test_a_stream_that_is_gone_fails_nobody() -> None:
    class Gone(Lines):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    LineWriter(Gone()).write(b"{}\n")  # type: ignore[arg-type]
