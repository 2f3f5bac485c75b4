"""Secrets stay out of texts wherever these are cut, and no text takes longer than its length."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.asgi import Lines
from slipway.settings import Settings
from slipway.telemetry import redaction
from slipway.telemetry.logs import LONGEST_EXCEPTION, configure_logging
from slipway.telemetry.redaction import CUT, DEEPEST, LONGEST_TEXT, MOST_ITEMS, redact, redact_text

log = logging.getLogger("slipway.test")

FORMS = {
    "a password in a URL": "postgresql://app:{}@db/x",
    "a URL without user": "redis://:{}@cache:6379/0",
    "a bearer token": "Authorization: Bearer {} was sent",
    "a token by its form": "got eyJ{}.eyJ{}.{} here",
    "a token's second part": "got eyJhbGciOiJFZERTQSJ9.{}.c2ln here",
    "a value": "password={} and more",
    "a value of a longer name": "POSTGRES_PASSWORD={} and more",
    "a value in quotes": '"client_secret": "{} {}", "a": 1',
    "a value in quotes with quotes in it": '"password": "{}\\"{}", "a": 1',
    "a value in single quotes": "refresh_token = '{} {}' and more",
    "parameters": "[parameters: ('{}', 1)]",
    "a row": "DETAIL:  Failing row contains (1, {}\n{}, 2).",
    "a key": "DETAIL:  Key (email)=({}\n{}) already exists.",
    "an input": "name\n  Input [type=int, input_value='{}', input_type=str]",
}
PIECE = "hunter2"
SECRET = PIECE * 6


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


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_does_not_show_wherever_its_text_is_cut(form: str) -> None:
    text = FORMS[form].replace("{}", SECRET)
    for shown in range(len(text) + 2):
        padded = "." * (LONGEST_TEXT - shown - 1) + " " + text + " tail" * 10
        assert PIECE not in redact_text(padded), padded[LONGEST_TEXT - shown : LONGEST_TEXT]


@pytest.mark.parametrize("form", ["a password in a URL", "a value in quotes", "an input"])
def test_if_the_end_of_a_secret_were_waited_for_its_beginning_would_show(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = [
        (re.compile(r"://[^/\s:@]*:[^@\s/]*@"), "://@"),
        (re.compile(r'secret": "[^"]*"'), ""),
        (re.compile(r"input_value=.*?, input_type="), ""),
    ]
    monkeypatch.setattr(redaction, "_SECRET_TEXT", strict)
    with pytest.raises(AssertionError):
        test_a_secret_does_not_show_wherever_its_text_is_cut(form)


@pytest.mark.parametrize(
    "text",
    [
        "Listening on http://127.0.0.1:8000",
        "see https://api.example/a:b",
        "tokens: 3",
        "keyJson",
        "2 passes; secretly x=1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_follows_a_secret_stays() -> None:
    told = redact_text(
        "DETAIL:  Key (email)=(a\nb) already exists.\n[SQL: INSERT INTO users]\n[parameters: (1)]\n(more)"
    )
    assert told == "DETAIL:  [redacted]\n[SQL: INSERT INTO users]\n[parameters: [redacted]]\n(more)"
    assert redact_text('{"password": "a\\"b", "x": 1}') == '{"password": [redacted], "x": 1}'
    assert redact_text("[input_value='a', input_type=str]") == "[input_value=[redacted], input_type=str]"


def test_sixteen_kilobytes_of_a_tokens_beginning_are_one_short_line(lines: Lines) -> None:
    log.warning("eyJ-" * 4096, extra={"said": "eyJ-" * 4096, "more": ["input_value=" * 2000]})
    [line] = lines.all()
    assert (line["message"], line["said"]) == (redaction.REDACTED + CUT,) * 2
    assert line["more"] == [f"input_value={redaction.REDACTED}"]


class Watched:
    """A pattern that keeps how much it was given."""

    def __init__(self, pattern: re.Pattern[str], given: list[int]) -> None:
        self._pattern = pattern
        self._given = given

    def sub(self, replacement: str, text: str) -> str:
        self._given.append(len(text))
        return self._pattern.sub(replacement, text)


@given(st.sampled_from(["eyJ-", "token ", 'secret="', "://a:", "DETAIL: Key (", "a", "\n"]), st.integers(1, 200_000))
def test_no_more_of_a_text_is_looked_at_than_the_limit(seed: str, times: int) -> None:
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        watched = [(Watched(pattern, seen), shown) for pattern, shown in redaction._SECRET_TEXT]  # noqa: SLF001
        patch.setattr(redaction, "_SECRET_TEXT", watched)
        redact_text(seed * times)
    # What is put in a secret's place may be longer than it was, by a constant for each.
    assert seen[0] == min(len(seed) * times, LONGEST_TEXT + 1)
    assert max(seen) <= 5 * LONGEST_TEXT


def steps_back(pattern: str) -> bool:
    """Whether a repetition in the pattern may give back what it took, which is what makes a search slow."""
    plain = re.sub(r"\[[^]]*]", "c", re.sub(r"\\.", "c", pattern))
    return any(more != "+" for more in re.findall(r"(?:[*+]|\{\d+,\d*\})(\+?)", plain))


def test_no_pattern_steps_back() -> None:
    assert not [pattern.pattern for pattern, _ in redaction._SECRET_TEXT if steps_back(pattern.pattern)]  # noqa: SLF001


def test_the_pattern_that_took_long_would_be_noticed() -> None:
    assert steps_back(r"\beyJ[\w-]+\.[\w-]*\.?[\w-]*")
    assert steps_back(r"input_value=.*?, input_type=")


def test_nesting_beyond_the_limit_is_cut_off() -> None:
    lists: object = "in"
    mappings: object = "in"
    for _ in range(DEEPEST):
        lists, mappings = [lists], {"a": mappings}
    assert redact(lists) == lists
    assert redact(mappings) == mappings
    assert CUT in str(redact([lists]))
    assert CUT in str(redact({"a": mappings}))


def test_more_members_than_the_limit_are_cut_off() -> None:
    many = range(MOST_ITEMS + 1)
    assert redact(list(many)) == [*range(MOST_ITEMS), CUT]
    assert redact(list(many)[1:]) == list(many)[1:]
    assert redact({str(number): number for number in many[1:]}) == {str(number): number for number in many[1:]}
    shown = redact({str(number): number for number in many})
    assert len(shown) == MOST_ITEMS + 1
    assert shown[CUT] == CUT


def _fail(left: int) -> None:
    if left:
        _fail(left - 1)
    raise ValueError(f"password={SECRET} " + "x" * 100_000)


def _fail_by_that() -> None:
    try:
        _fail(3)
    except ValueError as error:
        raise RuntimeError("refresh_token: " + SECRET * 100) from error


def _logged(fail: Callable[[], None], lines: Lines) -> str:
    try:
        fail()
    except Exception:
        log.exception("failed")
    [line] = lines.all()
    return str(line["exception"])


def test_an_exception_is_cut_between_its_pieces_and_keeps_what_happened(lines: Lines) -> None:
    told = _logged(_fail_by_that, lines)
    assert len(told) <= LONGEST_EXCEPTION + len(CUT)
    assert told.endswith("RuntimeError: refresh_token: [redacted]\n")
    assert PIECE not in told


def _fail_by_many() -> None:
    error: Exception | None = None
    for number in range(1000):
        cause, error = error, ValueError(f"password={SECRET} of {number}")
        error.__cause__ = cause
    assert error is not None
    raise error


def test_an_exception_of_many_causes_begins_with_a_whole_piece(lines: Lines) -> None:
    told = _logged(_fail_by_many, lines)
    assert LONGEST_EXCEPTION - 200 < len(told) <= LONGEST_EXCEPTION + len(CUT)
    assert told.startswith((f"{CUT}ValueError: password=[redacted] of ", f"{CUT}\nThe above exception"))
    assert "of 999" in told


def test_an_exceptions_long_message_does_not_push_out_its_type(lines: Lines) -> None:
    assert "ValueError: password=[redacted] xxx" in _logged(lambda: _fail(0), lines)


def test_what_is_just_within_the_bounds_is_shown_whole_and_what_is_beyond_is_cut() -> None:
    assert redact_text("." * LONGEST_TEXT) == "." * LONGEST_TEXT
    assert redact_text("." * (LONGEST_TEXT + 1)) == "." * LONGEST_TEXT + CUT
    assert redact([0] * MOST_ITEMS) == [0] * MOST_ITEMS
    assert redact([0] * (MOST_ITEMS + 1)) == [0] * MOST_ITEMS + [CUT]
    members = {str(number): number for number in range(MOST_ITEMS + 1)}
    assert list(redact(members).items()) == [*list(members.items())[:MOST_ITEMS], (CUT, CUT)]
    del members["0"]
    assert redact(members) == members


@pytest.mark.parametrize("within", [list, lambda inner: {"a": inner[0]}])
def test_nesting_is_shown_to_its_bound(within: Any) -> None:
    def nested(depth: int, core: object) -> Any:
        return core if depth == 0 else within([nested(depth - 1, core)])

    assert redact(nested(DEEPEST, 1)) == nested(DEEPEST, 1)
    assert redact(nested(DEEPEST + 1, 1)) == nested(DEEPEST, CUT)
