from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.watch import MIGRATION, Wishes
from slipway_operator.worklist import Key

KEY = Key(MIGRATION, "ships", "slipway")
METADATA: dict[str, Any] = {"uid": "1", "generation": 1, "resourceVersion": "7"}


@pytest.fixture
def wishes() -> Wishes:
    known = Wishes()
    assert known.news("ADDED", KEY, METADATA)
    return known


def test_a_written_status_is_no_news(wishes: Wishes) -> None:
    assert not wishes.news("MODIFIED", KEY, {**METADATA, "resourceVersion": "8"})


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"uid": "2"},
        {"annotations": {"slipway.dev/replan": "after the restore"}},
        {"deletionTimestamp": "2026-11-22T12:00:00Z"},
    ],
)
def test_a_changed_wish_is_news_once(wishes: Wishes, change: dict[str, Any]) -> None:
    assert wishes.news("MODIFIED", KEY, {**METADATA, **change})
    assert not wishes.news("MODIFIED", KEY, {**METADATA, **change})


def test_a_list_is_always_news_because_changes_may_have_been_missed_before_it(wishes: Wishes) -> None:
    assert wishes.news(None, KEY, METADATA)


def test_a_resource_that_comes_back_is_news(wishes: Wishes) -> None:
    assert wishes.news("DELETED", KEY, METADATA)
    assert wishes.news("ADDED", KEY, METADATA)
