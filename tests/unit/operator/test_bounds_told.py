"""What pods and Jobs tell is taken up to its bound, and refused just beyond; each bound is a promise of the docs."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from slipway_operator.evidence.document import UnusableError, understood
from slipway_operator.migrations.report import UnreadableError, failure, report
from unit.operator.migration_objects import marked, plan_document, plan_lines, plan_log, revision

FITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "100 keys": ({"keys": [f"k{n}" for n in range(100)]}, {"keys": [f"k{n}" for n in range(101)]}),
    "an id of 128 characters": ({"keys": ["k" * 128]}, {"keys": ["k" * 129]}),
    "64 processes": ({"process": 1, "processes": 64}, {"process": 1, "processes": 65}),
    "one process": ({"process": 0, "processes": 1}, {"process": 0, "processes": 0}),
    "a role of 63 characters": ({"database_role": "r" * 63}, {"database_role": "r" * 64}),
    "tokens of 366 days": ({"token_lifetime": 366 * 86_400}, {"token_lifetime": 366 * 86_400 + 1}),
    "tokens that end at once": ({"token_lifetime": 0}, {"token_lifetime": -0.001}),
}


@pytest.mark.parametrize(("fits", "beyond"), FITS.values(), ids=FITS)
def test_a_pod_is_understood_up_to(fits: dict[str, Any], beyond: dict[str, Any]) -> None:
    understood(json.dumps(fits).encode())
    with pytest.raises(UnusableError, match="Malformed"):
        understood(json.dumps(beyond).encode())


def test_what_a_pod_leaves_out_is_no_keys_no_role_and_one_process() -> None:
    found = understood(b"{}")
    assert (found.keys, found.token_lifetime, found.processes) == (frozenset(), 0.0, 1)


def test_a_plan_of_a_thousand_revisions_is_read_and_of_one_more_refused() -> None:
    assert len(report(plan_log(*(revision(f"r{n}") for n in range(1000)))).planned) == 1000
    with pytest.raises(UnreadableError, match="more than 1000 revisions"):
        report(plan_log(*(revision(f"r{n}") for n in range(1001))))


def test_a_thousand_contracts_that_the_image_does_not_know_are_kept() -> None:
    told = report(plan_log(foreign=[f"f{n}" for n in range(1001)]))
    assert (len(told.foreign), told.foreign[-1]) == (1000, "f999")


def test_a_document_of_four_mebibytes_is_read_and_one_of_a_byte_more_is_refused() -> None:
    rest = len(json.dumps(plan_document(revision("0002", sql=""))))
    fitting = "x" * (4 * 1024 * 1024 - rest)
    assert report("\n".join(plan_lines(plan_document(revision("0002", sql=fitting))))).planned[0].sql == fitting
    with pytest.raises(UnreadableError, match="larger than 4194304 bytes"):
        report("\n".join(plan_lines(plan_document(revision("0002", sql=fitting + "x")))))


def test_a_plan_is_read_of_two_hundred_lines_and_not_of_more_or_none() -> None:
    data = zlib.compress(json.dumps(plan_document(note="".join(map(chr, range(32, 500))))).encode())
    pieces = [data[n : n + 1] for n in range(199)] + [data[199:]]
    told = [
        marked({"type": "plan", "part": n, "parts": 200, "data": base64.b64encode(piece).decode()})
        for n, piece in enumerate(pieces, 1)
    ]
    assert report("\n".join(told)).target == "0001"
    for parts in (0, 201):
        with pytest.raises(UnreadableError, match="isn't in 1 to 200 parts"):
            report(marked({"type": "plan", "part": 1, "parts": parts, "data": "AAAA"}))


def test_a_line_of_eight_kibibytes_counts_and_a_longer_one_is_other_output() -> None:
    line = marked({"type": "failed", "reason": "StatementFailed", "message": "x"})
    assert failure(line + " " * (8 * 1024 - len(line))) is not None
    assert failure(line + " " * (8 * 1024 + 1 - len(line))) is None


def test_names_are_cut_or_refused_at_256_characters() -> None:
    told = report(plan_log(revision("0002", message="m" * 300), database={"system": "7" * 300, "name": "shop"}))
    assert (len(told.system), len(told.planned[0].revision.message)) == (256, 256)
    assert report(plan_log(current="c" * 256, target="t" * 256)).current == "c" * 256
    for place in ("current", "target"):
        with pytest.raises(UnreadableError, match=f"{place} is no revision"):
            report(plan_log(**{place: "c" * 257}))
