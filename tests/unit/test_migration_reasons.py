"""Reasons of failures for programs, and whose announcements are taken back."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from slipway.migrations import progress
from slipway.migrations.announcements import decide_withdrawal, foreign
from slipway.migrations.errors import MigrationError, Reason, describe, reason_of, reason_of_statement
from slipway.migrations.ledger import LedgerRow
from slipway.migrations.plan import decide_steps
from slipway.migrations.script import Chain, Revision, read_chain
from slipway.storage.login import LoginError

REASONS: list[tuple[BaseException, Reason]] = [
    (MigrationError("x", reason="PlanChanged"), "PlanChanged"),
    (MigrationError("x"), "MigrationFailed"),
    (LoginError("x"), "LoginRefused"),
    (asyncpg.InvalidPasswordError("x"), "LoginRefused"),
    (asyncpg.InvalidAuthorizationSpecificationError("x"), "LoginRefused"),
    (asyncpg.InvalidCatalogNameError("x"), "LoginRefused"),
    (ConnectionRefusedError(), "DatabaseUnreachable"),
    (TimeoutError(), "DatabaseUnreachable"),
    (asyncpg.TooManyConnectionsError("x"), "DatabaseUnreachable"),
    (asyncpg.CannotConnectNowError("x"), "DatabaseUnreachable"),
    (asyncpg.AdminShutdownError("x"), "DatabaseUnreachable"),
    (asyncpg.ConnectionDoesNotExistError("x"), "DatabaseUnreachable"),
    (asyncpg.InterfaceError("x"), "DatabaseUnreachable"),
    (asyncpg.UndefinedTableError("x"), "StatementFailed"),
    (DBAPIError("x", None, asyncpg.QueryCanceledError("x")), "StatementFailed"),
    (KeyError("x"), "MigrationFailed"),
]


@pytest.mark.parametrize(("error", "reason"), REASONS, ids=lambda value: getattr(value, "__class__", value).__name__)
def test_every_error_has_a_reason(error: BaseException, reason: Reason) -> None:
    assert reason_of(error) == reason


def test_a_statement_that_lacks_a_right_is_no_refused_login() -> None:
    assert reason_of_statement(DBAPIError("x", None, asyncpg.InsufficientPrivilegeError("x"))) == "StatementFailed"
    assert reason_of_statement(DBAPIError("x", None, asyncpg.AdminShutdownError("x"))) == "DatabaseUnreachable"


def server_error(kind: type[asyncpg.PostgresError], message: str) -> asyncpg.PostgresError:
    error = kind(message)
    error.message = message
    return error


def test_a_message_quotes_names_but_no_value_of_a_row() -> None:
    value = server_error(
        asyncpg.InvalidTextRepresentationError, 'invalid input syntax for type integer: "ada\'s "pw" 1"'
    )
    assert describe(value) == 'invalid input syntax for type integer: "…" (22P02)'
    name = server_error(asyncpg.UndefinedTableError, 'relation "items" does not exist')
    assert describe(name) == 'relation "items" does not exist (42P01)'


LASTING = ("MultipleHeads", "RevisionUnknown", "ReleaseSkipped", "PoolerInBetween", "RoleUnfit", "RevisionsUnreadable")


@pytest.mark.parametrize(
    "reason", [*LASTING, "PlanChanged", "AnnouncementGone", "StatementFailed", "BudgetExceeded", "MigrationFailed"]
)
def test_only_what_a_person_must_mend_is_lasting(reason: Reason) -> None:
    assert MigrationError("x", reason=reason).lasting == (reason in LASTING)


def write(folder: Path, **modules: str) -> Path:
    for name, content in modules.items():
        (folder / f"{name}.py").write_text(content)
    return folder


UNREADABLE: list[tuple[dict[str, str], Reason]] = [
    ({"a": "revision = 'a'\ndown_revision = None", "b": "revision = 'b'\ndown_revision = None"}, "MultipleHeads"),
    ({"a": "revision = 'a'\ndown_revision = 'gone'"}, "RevisionsUnreadable"),
    ({"a": "revision = 'a'\nkind = 'odd'"}, "RevisionsUnreadable"),
    ({"a": "revision = ("}, "RevisionsUnreadable"),
    ({"a": "revision = 'a'\ndown_revision = 'b'", "b": "revision = 'b'\ndown_revision = 'a'"}, "RevisionsUnreadable"),
]


@pytest.mark.parametrize(("modules", "reason"), UNREADABLE)
def test_revisions_that_make_no_chain_say_why(tmp_path: Path, modules: dict[str, str], reason: Reason) -> None:
    with pytest.raises(MigrationError) as failure:
        read_chain(write(tmp_path, **modules))
    assert (failure.value.reason, failure.value.lasting) == (reason, True)


IMAGE = Chain((Revision("a", "expand", ""), Revision("c", "contract", "", ("a",)), Revision("e", "expand", "", ("c",))))


def test_what_can_not_be_planned_says_why() -> None:
    with pytest.raises(MigrationError) as skipped:
        decide_steps(IMAGE, ("a",), (), phase="expand")
    assert skipped.value.reason == "ReleaseSkipped"
    with pytest.raises(MigrationError) as unknown:
        decide_steps(IMAGE, ("later",), ())
    assert unknown.value.reason == "RevisionUnknown"
    with pytest.raises(MigrationError) as target:
        IMAGE.until("nowhere")
    assert target.value.reason == "RevisionUnknown"


def row(revision: str, *, announced: bool = True, applied: bool = False) -> LedgerRow:
    return LedgerRow(revision, "contract", announced=announced, applied=applied)


ROWS = (row("c"), row("other"), row("done", applied=True), row("by_alembic"))
HEADS = ("a", "by_alembic")


def test_other_images_announcements_are_those_that_never_ran() -> None:
    assert foreign(IMAGE, HEADS, ROWS) == ("other",)
    assert decide_withdrawal(IMAGE, HEADS, ROWS, None) == ("other",)


def test_a_named_announcement_is_taken_back_whosever_it_is() -> None:
    assert decide_withdrawal(IMAGE, HEADS, ROWS, "c") == ("c",)
    assert decide_withdrawal(IMAGE, HEADS, ROWS, "other") == ("other",)
    assert decide_withdrawal(IMAGE, HEADS, (), "c") == ()


@pytest.mark.parametrize("revision", ["done", "by_alembic", "a"])
def test_what_was_applied_is_not_taken_back(revision: str) -> None:
    with pytest.raises(MigrationError, match=f"Revision {revision} was applied"):
        decide_withdrawal(IMAGE, HEADS, ROWS, revision)


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(MigrationError, match="nowhere") as failure:
        decide_withdrawal(IMAGE, HEADS, ROWS, "nowhere")
    assert failure.value.reason == "RevisionUnknown"


def test_what_lasts_is_told_at_once_and_then_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    rhythm = progress.Rhythm()
    assert [rhythm.is_due(), rhythm.is_due()] == [True, False]
    now += progress.TELL_EVERY
    assert [rhythm.is_due(), rhythm.is_due()] == [True, False]
    rhythm.start_over()
    assert rhythm.is_due()
