"""In which words people ask for parts of the audit log, and what is no such word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.audit.filters import Filters, action_of, moment_of, resource_of
from slipway.audit.queries import Place
from slipway.http.paging import opaque, position
from slipway.http.problems import ValidationError

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-11-30T12:00:00Z", "2026-11-30t12:00:00z", "2026-11-30 13:00:00+01:00", "2026-11-30T06:30:00.000-05:30"],
)
def test_a_time_is_read_as_rfc_3339_writes_it(text: str) -> None:
    assert moment_of(text) == NOON
    assert moment_of(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-30", "12:00:00Z", "2026-11-30T12:00:00", "2026-11-30T12:00Z", "20261130T120000Z"),
        *("2026-11-30T12:00:00 01:00", "2026-11-30T24:00:00Z", "2026-11-30T12:00:00+25:00", "2026-W49-1T12:00:00Z"),
        *("1764504000", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-11-30T12:00:00Z\n"),
    ],
)
def test_what_is_no_time_or_lacks_its_zone_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="as in 2026-11-30T03:00:00Z"):
        moment_of(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_is_refused(text: str) -> None:
    try:
        assert moment_of(text).tzinfo is UTC
    except ValueError:
        return


@pytest.mark.parametrize("text", ["", "items", "items.", "items.create.now", "Items.create", "a" * 32 + ".b", "a.b\n"])
def test_what_no_action_is_called_is_refused(text: str) -> None:
    assert action_of("sessions.sign_in") == "sessions.sign_in"
    with pytest.raises(ValueError, match=r"as in items\.create"):
        action_of(text)


@pytest.mark.parametrize(
    "text", ["", "items", "items/", "items/x", "items/1/2", "items/-1", "items/1\n", f"/{UUID(int=1)}"]
)
def test_what_no_resource_is_called_is_refused(text: str) -> None:
    assert resource_of("jobs/12") == "jobs/12"
    assert resource_of(f"Items/{str(UUID(int=0xABC)).upper()}") == f"items/{UUID(int=0xABC)}"
    with pytest.raises(ValueError, match="as in items/"):
        resource_of(text)


@pytest.mark.parametrize("later", [0, -1])
def test_a_time_that_ends_before_it_begins_is_refused(later: int) -> None:
    with pytest.raises(ValueError, match="later than"):
        Filters(since=NOON, until=NOON + timedelta(seconds=later))
    assert Filters(since=NOON, until=NOON + timedelta(microseconds=1)).by_index == {}


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_comes_back_as_the_place_it_stands_for(at: datetime, attempt: UUID) -> None:
    place = Place(at, attempt)
    assert position(opaque(place.packed()), Place.unpacked) == place


@given(st.binary(max_size=40))
def test_any_other_cursor_is_refused_or_is_a_place_of_its_own(packed: bytes) -> None:
    try:
        place = position(opaque(packed), Place.unpacked)
    except ValidationError:
        return
    assert place.packed() == packed
