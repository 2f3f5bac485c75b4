from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.spec import parse, plan_key
from slipway_operator.specs import SpecError, seconds_of, selector_text
from unit.operator.migration_objects import resource


def test_the_least_spec_gets_the_defaults_of_its_definition() -> None:
    spec = parse(resource())

    assert (spec.workload, spec.container, spec.consumers, spec.secret_name) == (
        "shop",
        "api",
        "app=shop",
        "shop-owner",
    )
    assert (spec.lock_timeout, spec.statement_timeout, spec.budget, spec.retries) == (3.0, 900.0, 3600.0, 3)
    assert (spec.approval, spec.fail_on, spec.suspend, spec.backup, spec.command) == (
        "Never",
        "Error",
        False,
        None,
        None,
    )


def test_everything_that_can_be_wished_is_understood() -> None:
    spec = parse(
        resource(
            command=["db"],
            approval="Destructive",
            approve="sha256:" + "0" * 64,
            lint={"failOn": "Warning", "ignore": ["prefer-text-field"]},
            budget="1h30m",
            backup={"cronJobName": "dump"},
            suspend=True,
            retries=0,
        )
    )

    assert (spec.command, spec.approval, spec.fail_on, spec.ignore) == (
        ("db",),
        "Destructive",
        "Warning",
        frozenset({"prefer-text-field"}),
    )
    assert (spec.budget, spec.backup, spec.suspend, spec.retries) == (5400.0, "dump", True, 0)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h1m1s", 3661), ("0s", 0), ("2h", 7200)]
)
def test_a_duration_is_told_in_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1d", "1m1h", "-1s", "1.5s", "1s ", "123456s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="no duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchLabels": {"example.com/x": ""}}, "example.com/x="),
        ({"matchExpressions": [{"key": "t", "operator": "In", "values": ["a", "b"]}]}, "t in (a,b)"),
        ({"matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["a"]}]}, "t notin (a)"),
        ({"matchExpressions": [{"key": "t", "operator": "Exists"}]}, "t"),
        ({"matchExpressions": [{"key": "t", "operator": "DoesNotExist"}]}, "!t"),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "t", "operator": "Exists"}]}, "a=1,t"),
    ],
)
def test_a_selector_is_written_as_a_list_takes_it(selector: dict[str, Any], text: str) -> None:
    assert selector_text(selector) == text


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {}},
        {"matchLabels": {"a": "1,b=2"}},
        {"matchLabels": {"a,b": "1"}},
        {"matchExpressions": [{"key": "t", "operator": "In", "values": ["a)"]}]},
        {"matchExpressions": [{"key": "t", "operator": "Gt"}]},
    ],
)
def test_a_selector_that_selects_all_or_something_else_than_it_says_is_refused(selector: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"consumers\.selector"):
        selector_text(selector)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "registry.example/shop:3"},
        {"workload": {"name": "shop", "container": "web"}},
        {"database": {"secretName": "other"}},
        {"command": ["db"]},
        {"config": "/app/alembic.ini"},
    ],
)
def test_what_a_plan_depends_on_asks_for_another_plan(change: dict[str, Any]) -> None:
    assert plan_key(resource(**change)) != plan_key(resource())


@pytest.mark.parametrize(
    "change", [{"approval": "Always"}, {"lint": {"ignore": ["x"]}}, {"suspend": True}, {"retries": 9}]
)
def test_what_it_does_not_depend_on_keeps_it(change: dict[str, Any]) -> None:
    assert plan_key(resource(**change)) == plan_key(resource())


def test_the_annotation_asks_for_another_plan() -> None:
    again = resource()
    again["metadata"]["annotations"] = {"slipway.dev/replan": "restored"}

    assert plan_key(again) != plan_key(resource())


@pytest.mark.parametrize("change", [{"workload": None}, {"image": None, "consumers": "all"}, {"budget": 5}])
def test_a_spec_of_another_form_is_refused_and_never_a_crash(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        parse(resource(**change))
