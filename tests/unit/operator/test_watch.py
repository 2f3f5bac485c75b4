from __future__ import annotations

import random
from typing import Any

import pytest

from slipway_operator import main, namespaces
from slipway_operator.watch import MIGRATION, Wishes, kopf_settings, owner_of
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


BOOKMARKS = 60.0
"""Seconds between two bookmarks of an API server."""


def test_a_watch_lives_half_an_hour_and_is_opened_anew_when_a_bookmark_is_ten_seconds_late() -> None:
    settings = kopf_settings("slipway-operator")
    watching = settings.watching
    assert watching.inactivity_timeout == BOOKMARKS + 10
    assert watching.server_timeout == 30 * 60
    # The server ends it; whoever waits for that waits as long as for any answer beyond it.
    assert watching.client_timeout == watching.server_timeout + (settings.networking.request_timeout or 0)
    assert (watching.connect_timeout, watching.reconnect_backoff) == (5, 1)


@pytest.mark.parametrize(("drawn", "seconds"), [(min, 23.25), (max, 38.75)])
def test_a_request_that_fails_is_tried_for_half_a_minute_with_other_pauses_each_time(
    monkeypatch: pytest.MonkeyPatch, drawn: Any, seconds: float
) -> None:
    monkeypatch.setattr(random, "uniform", drawn)
    networking = kopf_settings("slipway-operator").networking
    for _ in range(2):
        assert sum(networking.error_backoffs) == seconds  # type: ignore[arg-type]
    assert len(networking.error_backoffs) == 5  # type: ignore[arg-type]
    assert (networking.request_timeout, networking.connect_timeout) == (30, 5)
    # A namespace that is refused is left out before its watch gives up: it is asked for twice until then.
    assert seconds > 2 * namespaces.SECONDS


def test_kopf_writes_nothing_asks_for_nothing_more_and_ends_within_a_second_of_what_it_waits_for() -> None:
    settings = kopf_settings("slipway-operator")
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout == main.STOP_SECONDS + main.UNWATCH_SECONDS + 2
    assert settings.queueing.idle_timeout == 1


OWNER: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "SchemaMigration",
    "name": "slipway",
    "controller": True,
}


@pytest.mark.parametrize(
    "owner",
    [
        {**OWNER, "kind": "KeyRing"},
        {**OWNER, "apiVersion": "example.com/v1alpha1"},
        {**OWNER, "controller": False},
        {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True},
    ],
)
def test_a_job_is_its_controllers_and_only_where_that_is_a_migration(owner: dict[str, Any]) -> None:
    job = {"metadata": {"namespace": "ships", "ownerReferences": [owner]}}
    assert owner_of(job) is None
    assert owner_of({"metadata": {"namespace": "ships"}}) is None
    both = {"metadata": {"namespace": "ships", "ownerReferences": [owner, OWNER]}}
    assert owner_of(both) == KEY
