"""The gate's decision: tables of cases, and properties over random histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.migrations import gate
from slipway.migrations.gate import decide_gate
from slipway.migrations.ledger import LedgerRow
from slipway.migrations.script import Chain, Revision

Kinds = list[Literal["expand", "contract"]]


def chain(spelled: str) -> Chain:
    """`e1 e2 c3`: expands and contracts by their first letter."""
    ids = spelled.split()
    return Chain(tuple(Revision(i, "contract" if i[0] == "c" else "expand", "", ()) for i in ids))


def ledger(spelled: str) -> list[LedgerRow]:
    """`e1 c2 c3?`: applied rows; those with a question mark are announced only."""
    return [
        LedgerRow(word.rstrip("?"), "contract" if word[0] == "c" else "expand", word[0] == "c", not word.endswith("?"))
        for word in spelled.split()
    ]


@dataclass(frozen=True)
class Case:
    name: str
    image: str
    applied: str | None
    state: str
    reason: str


CASES = [
    Case("no ledger", "e1", None, "waiting", "LedgerMissing"),
    Case("fresh database", "e1", "", "waiting", "RevisionMissing"),
    Case("just right", "e1 e2", "e1 e2", "open", "SchemaReady"),
    Case("half-way", "e1 e2", "e1", "waiting", "RevisionMissing"),
    Case("skipped releases, half-way", "e1 e2 c3 e4", "e1 e2 c3", "waiting", "RevisionMissing"),
    Case("skipped releases", "e1 e2 c3 e4", "e1 e2 c3 e4", "open", "SchemaReady"),
    Case("trailing contract pending", "e1 e2 c3", "e1 e2", "open", "SchemaReady"),
    Case("two trailing contracts pending", "e1 e2 c3 c4", "e1 e2", "open", "SchemaReady"),
    Case("own trailing contract announced", "e1 e2 c3", "e1 e2 c3?", "open", "SchemaReady"),
    Case("own trailing contract applied", "e1 e2 c3", "e1 e2 c3", "open", "SchemaReady"),
    Case("contract in the middle only announced", "e1 c2 e3", "e1 c2?", "waiting", "RevisionMissing"),
    Case("older image after expand", "e1", "e1 e2 e3", "open", "SchemaReady"),
    Case("older image with pending contract after expand", "e1 c2", "e1 c2 e3", "open", "SchemaReady"),
    Case("older image after contract was announced", "e1", "e1 e2 c3?", "refused", "ContractAnnounced"),
    Case("older image after contract", "e1", "e1 e2 c3", "refused", "ContractApplied"),
    Case("older image after contract and more", "e1", "e1 c2 e3 c4?", "refused", "ContractApplied"),
    Case("another application's database", "e1", "x1 c9", "refused", "ContractApplied"),
    Case("an image without revisions", "", "", "open", "SchemaReady"),
    Case("an image without revisions, elsewhere contracted", "", "e1 c2", "refused", "ContractApplied"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gate_decides(case: Case) -> None:
    verdict = decide_gate(chain(case.image), None if case.applied is None else ledger(case.applied))
    assert (verdict.state, verdict.reason) == (case.state, case.reason)
    assert verdict.is_open == (case.state == "open")
    assert verdict.sentence.endswith(".")


def test_a_verdict_names_the_revision_that_it_is_about() -> None:
    assert "e2" in decide_gate(chain("e1 e2 c3"), ledger("e1")).sentence
    assert "c9" in decide_gate(chain("e1"), ledger("e1 c9?")).sentence


kinds = st.lists(st.sampled_from(["expand", "contract"]), min_size=1, max_size=8)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Chain, Chain, list[LedgerRow]]:
    """(an image's chain, the whole history that it is the beginning of, the ledger at some moment)."""
    drawn: Kinds = draw(kinds)
    whole = [Revision(f"r{number}", kind, "", ()) for number, kind in enumerate(drawn)]
    length = draw(st.integers(1, len(whole)))
    applied = draw(st.integers(0, len(whole)))
    rows = [LedgerRow(revision.id, revision.kind, revision.kind == "contract", True) for revision in whole[:applied]]
    if applied < len(whole) and whole[applied].kind == "contract" and draw(st.booleans()):
        rows.append(LedgerRow(whole[applied].id, "contract", announced=True, applied=False))
    return Chain(tuple(whole[:length])), Chain(tuple(whole)), rows


@given(histories())
def test_an_image_at_its_head_starts_as_long_as_no_later_contract_comes(
    history: tuple[Chain, Chain, list[LedgerRow]],
) -> None:
    image, _, rows = history
    at_head = any(row.revision == image.head and row.applied for row in rows)
    later_contract = any(row.kind == "contract" and row.revision not in image for row in rows)
    if at_head and not later_contract:
        assert decide_gate(image, rows).is_open


@given(histories())
def test_no_image_starts_before_what_it_needs_is_applied(history: tuple[Chain, Chain, list[LedgerRow]]) -> None:
    image, _, rows = history
    if image.needs is not None and not any(row.revision == image.needs and row.applied for row in rows):
        assert not decide_gate(image, rows).is_open


@given(histories())
def test_no_image_starts_once_a_contract_that_it_does_not_know_is_announced(
    history: tuple[Chain, Chain, list[LedgerRow]],
) -> None:
    image, _, rows = history
    if any(row.kind == "contract" and row.revision not in image for row in rows):
        assert decide_gate(image, rows).state == "refused"


@given(histories())
def test_the_newest_image_is_never_refused(history: tuple[Chain, Chain, list[LedgerRow]]) -> None:
    _, whole, rows = history
    assert decide_gate(whole, rows).state != "refused"


@given(histories(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(history: tuple[Chain, Chain, list[LedgerRow]], random: object) -> None:
    image, _, rows = history
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = decide_gate(image, shuffled), decide_gate(image, rows)
    assert (one.state, one.reason) == (other.state, other.reason)


def test_without_the_look_at_announcements_a_pod_would_start_into_a_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a ledger that hides announcements opens the gate on a contract that may run at any moment."""
    real = gate.decide_gate

    def blind(image: Chain, rows: list[LedgerRow]) -> object:
        return real(image, [row for row in rows if row.applied])

    monkeypatch.setattr(gate, "decide_gate", blind)
    assert gate.decide_gate(chain("e1"), ledger("e1 c2?")).is_open
