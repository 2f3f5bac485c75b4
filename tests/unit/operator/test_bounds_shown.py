"""What the operator writes fits what the API server takes, to the last character, and shows what was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_operator.conditions import by_state, cut, merged
from slipway_operator.events import event
from slipway_operator.evidence.consumers import Lagging
from slipway_operator.logins import model as logins
from slipway_operator.logins.status import document as login_status
from slipway_operator.migrations import model as migrations
from slipway_operator.migrations.status import document as migration_status
from slipway_operator.rotations import Rotation, begun, closed, consumers, ended, history_shown

CRDS = Path(__file__).parents[3] / "chart" / "crds"
NOW = 1_795_000_000.0
ABOUT = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "KeyRing",
    "metadata": {"name": "ring", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
}


def defined(plural: str, *path: str) -> dict[str, Any]:
    """A field of a status, as its definition has it."""
    definition = yaml.safe_load((CRDS / f"{plural}.slipway.dev.yaml").read_text())
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    for name in path:
        found = found["items"] if name == "[]" else found["properties"][name]
    return found


def test_a_text_is_cut_only_beyond_its_limit_and_shows_it() -> None:
    assert cut("x" * 8, 8) == "x" * 8
    assert cut("x" * 9, 8) == "x" * 7 + "…"


def test_a_condition_s_message_is_as_long_as_the_definitions_let_it() -> None:
    told = merged(by_state("Ready", "Ready", "x" * 9999), (), 1, NOW)
    for plural in ("schemamigrations", "keyrings", "databaselogins"):
        assert len(told[0]["message"]) == defined(plural, "conditions", "[]", "message")["maxLength"]


@pytest.mark.parametrize(
    ("state", "ready", "kinds"),
    [
        ("Ready", "True", ["Ready"]),
        ("Reconciling", "False", ["Ready", "Reconciling"]),
        ("Stalled", "False", ["Ready", "Stalled"]),
        ("Suspended", "False", ["Ready"]),
    ],
)
def test_of_ready_reconciling_and_stalled_one_tells(state: Any, ready: str, kinds: list[str]) -> None:
    told = by_state(state, "Why", "x")
    assert ([one.type for one in told], told[0].status) == (kinds, ready)


def test_an_event_s_name_and_message_are_as_long_as_the_api_server_takes_them() -> None:
    about = {**ABOUT, "metadata": {**ABOUT["metadata"], "name": "r" * 253}}  # type: ignore[dict-item]
    told = event(about, "Why", "m" * 2000, "Normal", NOW)
    assert (len(told["metadata"]["name"]), len(told["message"]), told["count"]) == (253, 1024, 1)
    assert event(ABOUT, "Why", "m", "Normal", NOW)["metadata"]["name"].startswith("ring.")
    # Another resource of the name, another sentence: another event.
    names = {
        event(one, "Why", text, "Normal", NOW)["metadata"]["name"]
        for one in (about, {**about, "metadata": {**about["metadata"], "resourceVersion": "8"}})  # type: ignore[dict-item]
        for text in ("m", "n")
    }
    assert len(names) == 4


def test_twenty_pods_that_lag_are_shown_as_the_definitions_let_it() -> None:
    told = consumers(30, 1, [Lagging(f"p{n}", "TimedOut") for n in range(29)])
    for plural in ("keyrings", "databaselogins"):
        assert len(told["lagging"]) == defined(plural, "consumers", "lagging")["maxItems"]
    assert "lagging" not in consumers(1, 1, [])


def test_histories_are_as_long_as_the_definitions_let_them() -> None:
    shown = history_shown([Rotation("k", NOW, "Schedule")] * 101)
    runs = (migrations.Run("a", "b", 1.0, 1.0, "Succeeded"),) * 101
    status = migration_status(decided(history=runs), (), {}, 1, "", NOW)
    assert len(shown) == defined("keyrings", "history")["maxItems"] == defined("databaselogins", "history")["maxItems"]
    assert len(status["history"]) == defined("schemamigrations", "history")["maxItems"]


def decided(**memory: Any) -> migrations.Decision:
    verdict = migrations.Verdict("Ready", "UpToDate", "x", "Planning")
    return migrations.Decision(migrations.Memory(**memory), verdict)


def test_the_last_thousand_contracts_and_a_hundred_findings_are_kept_as_the_definition_lets_them() -> None:
    findings = (migrations.Finding("rule", "Warning", "r", "m"),) * 101
    plan = migrations.Plan("sha256:" + "a" * 64, "", "", (), (), findings, False, None)
    known = migrations.Contracted("image", tuple(f"r{n}" for n in range(1001)), applied=True)
    status = migration_status(decided(plan=plan, contracted=known), (), {}, 1, "", NOW)
    contracts = status["contracted"]["revisions"]
    assert len(contracts) == defined("schemamigrations", "contracted", "revisions")["maxItems"]
    assert (contracts[0], contracts[-1]) == ("r1", "r1000")
    assert len(status["plan"]["findings"]) == defined("schemamigrations", "plan", "findings")["maxItems"]


def test_a_failure_s_message_is_as_long_as_the_definition_lets_it() -> None:
    status = migration_status(decided(failure=migrations.Trouble("Why", "x" * 9999)), (), {}, 1, "", NOW)
    assert len(status["failure"]["message"]) == defined("schemamigrations", "failure", "message")["maxLength"]


def test_ten_old_sessions_are_shown_and_their_texts_cut_as_the_definition_lets_them() -> None:
    sessions = tuple(logins.Session(n, "role", "a" * 99, "s" * 99, NOW) for n in range(11))
    verdict = logins.Verdict("Ready", "Ready", "x", old_sessions=sessions)
    status = login_status(logins.Decision(logins.Memory(), verdict), {}, 1, NOW)
    shown, oldest = status["sessions"]["oldest"], defined("databaselogins", "sessions", "oldest")
    assert (status["sessions"]["old"], len(shown)) == (11, oldest["maxItems"])
    for name in ("applicationName", "state"):
        assert len(shown[0][name]) == oldest["items"]["properties"][name]["maxLength"]


def test_a_rotation_that_is_overtaken_ends_then_and_only_ended_ones_are_counted_once() -> None:
    first, second = Rotation("b", NOW, "Schedule"), Rotation("c", NOW + 9, "Nonce")
    history = begun((first,), second)
    assert [(one.to, one.took, one.result) for one in history] == [("c", None, None), ("b", 9.0, "Superseded")]
    assert [one.to for one in ended((first,), history)] == ["b"]
    assert ended(history, history) == []
    through = closed(history, NOW + 10, "Confirmed")
    assert [one.to for one in ended(history, through)] == ["c"]
    assert closed(through, NOW + 99, "Confirmed") == through
    # A clock that was put back takes no time.
    assert closed((first,), NOW - 5, "Confirmed")[0].took == 0.0
