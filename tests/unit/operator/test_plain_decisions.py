"""What the script for images with plain Alembic decides, by tables; and what it tells of errors, without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from plain_decisions import (
    Revision,
    Row,
    decide_gate,
    decide_pending,
    foreign,
    hold_contracts,
    is_open,
    reached,
    refuse_unannounced,
)
from plain_errors import describe, is_of_database, refuses_login, sqlstate_of
from plain_masking import masked
from plain_output import Failure


def revision(id_: str, *parents: str, kind: str = "expand") -> Revision:
    return Revision(id_, kind, "", parents)


def row(id_: str, kind: str = "expand", *, announced: bool = False, applied: bool = True) -> Row:
    return Row(id_, kind, announced, applied)


A, B, C, M = revision("a"), revision("b", "a", kind="contract"), revision("c", "b"), revision("m", "a", "c")
CHAIN = (A, B, C)


@pytest.mark.parametrize(
    ("heads", "found"),
    [
        ((), set()),
        (("a",), {"a"}),
        (("c",), {"a", "b", "c"}),
        (("unknown",), set()),
        (("unknown", "b"), {"a", "b"}),
        (("m",), {"a", "b", "c", "m"}),
    ],
)
def test_a_head_is_reached_with_all_that_came_before_it(heads: tuple[str, ...], found: set[str]) -> None:
    assert reached((*CHAIN, M), heads) == found


def test_what_is_pending_is_what_the_heads_have_not_reached() -> None:
    assert decide_pending(CHAIN, (), ()) == CHAIN
    assert decide_pending(CHAIN, ("a",), ()) == (B, C)
    assert decide_pending(CHAIN, ("c",), ()) == ()
    assert decide_pending(CHAIN, ("later",), tuple(row(one.id) for one in CHAIN)) == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "at later, which this image doesn't know, and the ledger doesn't say that it came after c"),
        ((row("a"), row("b", "contract")), "the ledger doesn't say"),
        ((row("a"), row("b"), row("c", applied=False)), "the ledger doesn't say"),
        ((*(row(one.id) for one in CHAIN), row("z", "contract")), "Contract z of a later release was applied"),
    ],
)
def test_a_strange_database_is_refused_for_good(rows: tuple[Row, ...], said: str) -> None:
    with pytest.raises(Failure, match=said) as raised:
        decide_pending(CHAIN, ("later",), rows)
    assert (raised.value.reason, raised.value.lasting) == ("RevisionUnknown", True)


def test_an_image_without_revisions_has_nothing_to_run_on_any_database() -> None:
    assert decide_pending((), ("later",), (row("x", "contract", applied=False),)) == ()


def test_a_contract_of_a_later_release_that_did_not_run_breaks_nothing() -> None:
    rows = (*(row(one.id) for one in CHAIN), row("z", "contract", announced=True, applied=False))
    assert decide_pending(CHAIN, ("later",), rows) == ()


def test_contracts_are_held_with_all_that_follows_and_no_expand_may_be_among_it() -> None:
    assert hold_contracts((A,)) == ((A,), ())
    assert hold_contracts((A, B)) == ((A,), (B,))
    assert hold_contracts((B,)) == ((), (B,))
    assert hold_contracts(()) == ((), ())
    with pytest.raises(Failure, match=r"Contract b comes before d, which") as raised:
        hold_contracts((*CHAIN, revision("d")))
    assert (raised.value.reason, raised.value.lasting) == ("ReleaseSkipped", True)


def test_only_a_contract_has_to_be_announced_before_it_runs() -> None:
    refuse_unannounced((A, B), (row("b", "contract", announced=True, applied=False),))
    refuse_unannounced((A,), ())
    with pytest.raises(Failure, match="Contract b isn't announced") as raised:
        refuse_unannounced((A, B), (row("b", "contract", applied=False),))
    assert (raised.value.reason, raised.value.lasting) == ("AnnouncementGone", False)


@pytest.mark.parametrize(
    ("rows", "verdict", "reason", "said"),
    [
        (None, "waiting", "LedgerMissing", "no ledger"),
        ((), "waiting", "RevisionMissing", "Revision c,"),
        ((row("a"), row("c", applied=False)), "waiting", "RevisionMissing", "Revision c,"),
        ((row("c"),), "open", "SchemaReady", "has what this image needs"),
        ((row("c"), row("b", "contract", announced=True)), "open", "SchemaReady", "has"),
        ((row("c"), row("z")), "open", "SchemaReady", "has"),
        ((row("c"), row("z", "contract", applied=False)), "open", "SchemaReady", "has"),
        (
            (row("c"), row("z", "contract", announced=True, applied=False)),
            "refused",
            "ContractAnnounced",
            "z of a later release was announced",
        ),
        ((row("c"), row("z", "contract")), "refused", "ContractApplied", "z of a later release was applied"),
        (
            (row("y", "contract", announced=True, applied=False), row("z", "contract")),
            "refused",
            "ContractApplied",
            "Contract z",
        ),
    ],
)
def test_a_gate_is_open_waits_or_refuses(rows: tuple[Row, ...] | None, verdict: str, reason: str, said: str) -> None:
    found = decide_gate(CHAIN, rows)
    assert (found[:2], said in found[2]) == ((verdict, reason), True), found


def test_an_image_of_contracts_alone_needs_nothing() -> None:
    assert decide_gate((B,), ())[0] == "open"
    assert decide_gate((), ())[0] == "open"


def test_an_announced_contract_that_nobody_ran_and_the_image_does_not_know_is_foreign() -> None:
    opened = row("z", "contract", announced=True, applied=False)
    assert is_open(opened)
    for other in (
        row("z", "contract", announced=True),
        row("z", "contract", applied=False),
        row("z", announced=True, applied=False),
    ):
        assert not is_open(other)
    assert foreign(CHAIN, (), (opened, row("b", "contract", announced=True, applied=False))) == ["z"]
    assert foreign(CHAIN, ("z",), (opened,)) == []


def driver(module: str, **members: Any) -> Exception:
    made: Exception = type("Error", (Exception,), {"__module__": module, **members})("password=a-secret")
    return made


def wrapped(error: Exception) -> DBAPIError:
    return DBAPIError("SELECT 'a-secret'", {"p": "a-secret"}, error)


@pytest.mark.parametrize(
    ("error", "state", "of_database", "said"),
    [
        (
            driver("psycopg2.errors", pgcode="42P01", diag=type("D", (), {"message_primary": "no table"})),
            "42P01",
            True,
            "no table (42P01)",
        ),
        (driver("psycopg.errors", sqlstate="42P01"), "42P01", True, "Error (42P01)"),
        (driver("asyncpg.exceptions", sqlstate="23505", message="duplicate"), "23505", True, "duplicate (23505)"),
        (
            wrapped(driver("asyncpg.exceptions", sqlstate="23505", message="duplicate")),
            "23505",
            True,
            "duplicate (23505)",
        ),
        (driver("asyncpg.exceptions", sqlstate="22P02", message="bad: a-secret"), "22P02", True, "Error (22P02)"),
        (driver("asyncpg"), "", True, "Error"),
        (driver("asyncpgx"), "", False, "Error"),
        (wrapped(driver("other")), "", True, "Error"),
        (TimeoutError("a-secret"), "", True, "TimeoutError"),
        (ConnectionRefusedError(111, "a-secret"), "", True, "ConnectionRefusedError: Connection refused"),
        (FileNotFoundError(2, "a-secret", "x"), "", False, "FileNotFoundError"),
        (ModuleNotFoundError("a-secret", name="redis"), "", False, "ModuleNotFoundError of redis"),
        (ImportError("a-secret"), "", False, "ImportError"),
        (ValueError("a-secret"), "", False, "ValueError"),
    ],
)
def test_an_error_is_told_by_its_kind_without_what_may_be_secret(
    error: Exception,
    state: str,
    of_database: bool,  # noqa: FBT001 - a table's column
    said: str,
) -> None:
    assert (sqlstate_of(error), is_of_database(error), describe(error)) == (state, of_database, said)
    assert "a-secret" not in describe(error)


def test_a_driver_s_sentence_is_told_by_the_parts_that_are_known() -> None:
    error = type("OperationalError", (Exception,), {"__module__": "psycopg2"})(
        'connection to server at "db", user "a-secret" failed: FATAL: password authentication failed, timeout expired'
    )
    assert describe(error) == "OperationalError: authentication failed: timeout expired"


def test_what_env_py_raised_is_told_by_its_place() -> None:
    with pytest.raises(ValueError, match="a-secret") as raised:
        int("a-secret")
    assert describe(raised.value).startswith("ValueError at test_plain_decisions.py:")


@pytest.mark.parametrize(
    ("state", "text", "refuses"),
    [
        ("28P01", "", True),
        ("28000", "", True),
        ("3D000", "", True),
        ("42501", "", True),
        ("42P01", "does not exist", False),
        ("08006", "authentication failed", False),
        ("", "password authentication failed for user", True),
        ("", "no pg_hba.conf entry for host", True),
        ("", "Connection refused", False),
    ],
)
def test_a_login_is_refused_by_its_state_or_by_a_driver_s_words(state: str, text: str, refuses: bool) -> None:  # noqa: FBT001 - a table's column
    error = type("Error", (Exception,), {"sqlstate": state} if state else {})(text)
    assert refuses_login(error) is refuses


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("INSERT INTO t VALUES ('s');", "INSERT INTO t VALUES ('…');"),
        ("CREATE TABLE t (a text DEFAULT 's');", "CREATE TABLE t (a text DEFAULT 's');"),
        (
            "CREATE TABLE t (a text DEFAULT 'd'); UPDATE t SET a = 's'",
            "CREATE TABLE t (a text DEFAULT 'd'); UPDATE t SET a = '…'",
        ),
        ("WITH x AS (SELECT 1) DELETE FROM t WHERE a = 's'", "WITH x AS (SELECT 1) DELETE FROM t WHERE a = '…'"),
        ("WITH x AS (SELECT 's') SELECT 1", "WITH x AS (SELECT 's') SELECT 1"),
        ("DO $$ BEGIN INSERT INTO t VALUES ('s'); END $$", "DO '…'"),
        ("DO $$ BEGIN PERFORM 's'; END $$", "DO $$ BEGIN PERFORM 's'; END $$"),
        ("ALTER ROLE r PASSWORD 's'", "ALTER ROLE r PASSWORD '…'"),
        (
            "CREATE USER MAPPING FOR r SERVER x OPTIONS (password 's')",
            "CREATE USER MAPPING FOR r SERVER x OPTIONS (password '…')",
        ),
        ("ALTER TABLE role SET (x = 's')", "ALTER TABLE role SET (x = '…')"),
        ("ALTER TABLE t ADD role text DEFAULT 's'", "ALTER TABLE t ADD role text DEFAULT 's'"),
        ("-- it's; a comment\nSELECT ';'", "-- it's; a comment\nSELECT ';'"),
    ],
)
def test_strings_of_statements_with_data_or_passwords_are_masked(sql: str, shown: str) -> None:
    assert masked(sql) == shown
