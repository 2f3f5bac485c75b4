from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway_operator.secret_objects import CAUSE, DIGEST, NONCE, TAKE_OVER, data_of, digest, manifest, seen

RING: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "KeyRing",
    "metadata": {"name": "slipway", "namespace": "ships", "uid": "u-ring"},
}
DATA = {"jwks.json": b'{"keys":[]}', "signing": b"one"}


def written(*, owned: bool = True, version: str | None = None) -> dict[str, Any]:
    return manifest(
        RING, "slipway-keyring", DATA, type_="Opaque", cause="Nonce", nonce="7", owned=owned, version=version
    )


def test_what_was_written_is_seen_as_ours_and_intact() -> None:
    marks = seen(written(), RING, DATA)
    assert (marks.ours, marks.intact, marks.owned, marks.offered) == (True, True, True, False)
    assert (marks.cause, marks.nonce) == ("Nonce", "7")
    assert data_of(written()) == DATA


@pytest.mark.parametrize(
    "data",
    [
        {"jwks.json": DATA["jwks.json"]},
        {**DATA, "signing": b"two"},
        {"jwks.json": b"one", "signing": DATA["jwks.json"]},
        {},
    ],
)
def test_data_changed_by_hand_are_not_intact(data: dict[str, bytes]) -> None:
    changed = written() | {"data": manifest(
        RING, "x", data, type_="Opaque", cause="", nonce="", owned=False, version=None
    )["data"]}  # fmt: skip
    marks = seen(changed, RING, DATA)
    assert marks.ours
    assert not marks.intact


def test_what_somebody_else_adds_beside_our_files_is_in_nobodys_way() -> None:
    added = written()
    added["data"] |= {"more": ""}
    assert seen(added, RING, DATA).intact
    assert not seen(added, RING, (*DATA, "more")).intact


def test_the_digest_is_over_names_and_contents_in_any_order() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    assert digest({"a": b"1", "b": b"2"}) != digest({"a": b"2", "b": b"1"})
    assert digest({"a": b"1b"}) != digest({"a": b"1", "b": b""})


@pytest.mark.parametrize("label", ["app.kubernetes.io/managed-by", "slipway.dev/keyring"])
def test_a_secret_without_our_labels_is_not_ours(label: str) -> None:
    foreign = copy.deepcopy(written())
    del foreign["metadata"]["labels"][label]
    assert not seen(foreign, RING, DATA).ours


def test_the_secret_of_another_ring_is_not_ours() -> None:
    other = copy.deepcopy(RING)
    other["metadata"] |= {"name": "ferry", "uid": "u-ferry"}
    marks = seen(written(), other, DATA)
    assert (marks.ours, marks.owned) == (False, False)


def test_a_login_of_the_same_name_is_another_owner() -> None:
    assert not seen(written(), {**RING, "kind": "DatabaseLogin"}, DATA).ours


@pytest.mark.parametrize(("label", "offered"), [("slipway", True), ("ferry", False), ("", False)])
def test_a_secret_is_offered_only_to_the_one_that_its_label_names(label: str, *, offered: bool) -> None:
    bare = {"metadata": {"name": "mine", "labels": {TAKE_OVER: label}}, "data": {}}
    marks = seen(bare, RING, DATA)
    assert (marks.offered, marks.ours, marks.intact) == (offered, False, False)


def test_a_ring_recreated_under_its_name_holds_its_secret_without_owning_it() -> None:
    again = copy.deepcopy(RING)
    again["metadata"]["uid"] = "u-again"
    marks = seen(written(), again, DATA)
    assert (marks.ours, marks.owned) == (True, False)


def test_an_owner_is_noted_only_where_the_secret_is_to_go_with_it() -> None:
    assert "ownerReferences" not in written(owned=False)["metadata"]
    assert written()["metadata"]["ownerReferences"][0]["uid"] == "u-ring"
    assert "controller" not in written()["metadata"]["ownerReferences"][0]


def test_only_a_write_over_a_known_version_names_it() -> None:
    assert written(version="12")["metadata"]["resourceVersion"] == "12"
    assert "resourceVersion" not in written()["metadata"]


def test_a_long_name_fits_a_label_and_stays_one_of_a_kind() -> None:
    long = [copy.deepcopy(RING) for _ in range(2)]
    for number, ring in enumerate(long):
        ring["metadata"]["name"] = "a" * 80 + str(number)
    made = [manifest(ring, "x", DATA, type_="Opaque", cause="", nonce="", owned=False, version=None) for ring in long]
    labels = [secret["metadata"]["labels"]["slipway.dev/keyring"] for secret in made]
    assert all(len(label) <= 63 for label in labels)
    assert labels[0] != labels[1]


def test_marks_hold_nothing_of_the_contents() -> None:
    metadata = written()["metadata"]
    assert set(metadata["annotations"]) == {DIGEST, CAUSE, NONCE}
    assert "keys" not in str(metadata["annotations"])
    assert "one" not in repr(seen(written(), RING, DATA))


def test_contents_that_are_no_base64_count_as_empty() -> None:
    assert data_of({"data": {"a": "***"}}) == {"a": b""}
    assert data_of({"data": None}) == {}
