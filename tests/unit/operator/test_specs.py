"""Durations and label selectors, as a person writes them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.specs import SpecError, seconds_of, selector_text, selects


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h1m1s", 3661),
        ("0s", 0),
        ("99999h", 359_996_400),
        ("720h", 2_592_000),
    ],
)
def test_a_duration_is_hours_minutes_and_seconds(written: str, seconds: float) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize("written", ["", "90", "s", "1m1h", "1.5h", "-1s", "100000h", " 1s", "1d", "x" * 99])
def test_what_is_no_duration_is_refused_with_what_to_write_and_no_more_than_its_beginning(written: str) -> None:
    with pytest.raises(SpecError, match="write it like 90s, 15m or 1h30m") as raised:
        seconds_of(written)
    assert repr(written[:32]) in str(raised.value)
    assert "x" * 33 not in str(raised.value)


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


SELECTORS: dict[str, tuple[dict[str, Any], str, list[dict[str, str]], list[dict[str, str]]]] = {
    "labels": (
        {"matchLabels": {"b": "2", "a": "1"}},
        "a=1,b=2",
        [{"a": "1", "b": "2", "c": "3"}],
        [{}, {"a": "1"}, {"a": "1", "b": "3"}, {"a": "2", "b": "2"}],
    ),
    "an empty value": ({"matchLabels": {"a": ""}}, "a=", [{"a": ""}], [{}, {"a": "1"}]),
    "one that is there": (
        {"matchExpressions": [expression("a", "Exists")]},
        "a",
        [{"a": ""}, {"a": "1"}],
        [{}, {"b": "1"}],
    ),
    "one that is not": ({"matchExpressions": [expression("a", "DoesNotExist")]}, "!a", [{}, {"b": "1"}], [{"a": ""}]),
    "one of": (
        {"matchExpressions": [expression("a", "In", "1", "2")]},
        "a in (1,2)",
        [{"a": "1"}, {"a": "2"}],
        [{}, {"a": "3"}, {"b": "1"}],
    ),
    "none of": (
        {"matchExpressions": [expression("a", "NotIn", "1", "2")]},
        "a notin (1,2)",
        [{}, {"a": "3"}, {"b": "1"}],
        [{"a": "1"}, {"a": "2"}],
    ),
    "all together": (
        {
            "matchLabels": {"example.com/app": "shop"},
            "matchExpressions": [expression("tier", "In", "web"), expression("canary", "DoesNotExist")],
        },
        "example.com/app=shop,tier in (web),!canary",
        [{"example.com/app": "shop", "tier": "web"}],
        [{"example.com/app": "shop", "tier": "web", "canary": ""}, {"example.com/app": "shop"}, {"tier": "web"}],
    ),
}


@pytest.mark.parametrize(("selector", "text", "chosen", "left"), SELECTORS.values(), ids=SELECTORS)
def test_a_selector_selects_here_what_the_api_server_selects(
    selector: dict[str, Any], text: str, chosen: list[dict[str, str]], left: list[dict[str, str]]
) -> None:
    assert selector_text(selector) == text
    assert [selects(text, labels) for labels in chosen] == [True] * len(chosen)
    assert [selects(text, labels) for labels in left] == [False] * len(left)


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({}, "at least one label"),
        ({"matchLabels": {}, "matchExpressions": []}, "at least one label"),
        ({"matchLabels": {"a,b": "1"}}, "no key of a label"),
        ({"matchLabels": {"a": "1,b=2"}}, "no value of a label"),
        ({"matchExpressions": [expression("a", "In", "1)")]}, "no value of a label"),
        ({"matchExpressions": [expression("a=b", "Exists")]}, "no key of a label"),
        ({"matchExpressions": [expression("a", "Like", "1")]}, "operator 'Like'"),
    ],
)
def test_what_selects_all_or_something_else_than_it_says_is_refused(selector: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        selector_text(selector)
