"""How a schema command ends and what it tells while it waits for a lock, moment by moment."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any, cast

import asyncpg
import click
import pytest

from slipway.migrations import ending, locks, progress, session
from slipway.migrations.blockers import Blocker
from slipway.migrations.ending import TERMINATED, run_command
from slipway.migrations.errors import MigrationError, describe
from slipway.migrations.locks import ATTEMPTS, FREE_AFTER, LONGEST_PAUSE, BlockerWatch, pause_before
from slipway.migrations.progress import Progress, Rhythm, Waiting, Working
from slipway.migrations.session import alone, connect_within, refuse_pooler
from slipway.settings import Settings
from slipway.storage.files import FilesError

Clock = Callable[[float], None]
UNREACHABLE = Settings(database_url="postgresql://a:b@127.0.0.1:1/c")  # type: ignore[arg-type]


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that goes on when a test says so."""
    now = 1000.0

    def go_on(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (locks, progress, session):
        monkeypatch.setattr(module, "monotonic", lambda: now)
    return go_on


def by(query: str = "x") -> tuple[Blocker, ...]:
    return (cast("Blocker", query),)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Waiting | Working]:
    monkeypatch.setattr(locks, "describe_blockers", lambda found: " and ".join(map(str, found)))
    return []


def test_a_wait_is_told_at_once_then_now_and_then_and_its_end_when_nobody_has_blocked_for_a_while(
    turn: Clock, told: list[Waiting | Working]
) -> None:
    watch = BlockerWatch(Progress(print, told.append), "Revision 1")
    watch._tell_program(())  # noqa: SLF001 - one look of many
    assert told == [], "it never waited"
    watch._tell_program(by("pid 7"))  # noqa: SLF001
    held = Waiting("WaitingForLock", "Revision 1 waits for a lock that is held by pid 7.")
    assert told == [held]
    turn(progress.TELL_EVERY - 0.1)
    watch._tell_program(by("pid 7"))  # noqa: SLF001
    assert told == [held]
    turn(0.2)
    watch._tell_program(by("pid 7"))  # noqa: SLF001
    assert told == [held, held]
    turn(FREE_AFTER)
    watch._tell_program(())  # noqa: SLF001
    assert told == [held, held], "it may only be between two tries"
    turn(0.1)
    for _ in range(2):
        watch._tell_program(())  # noqa: SLF001
    assert told[2:] == [Working("Revision 1 runs.")]
    watch._tell_program(by("pid 8"))  # noqa: SLF001
    assert len(told) == 4, "another wait is told at once"


async def test_that_nobody_blocks_while_it_stands_back_is_no_end_of_the_wait(
    turn: Clock, told: list[Waiting | Working]
) -> None:
    watch = BlockerWatch(Progress(print, told.append), "Revision 1")
    watch.last = by("pid 7")
    standing = asyncio.create_task(watch.stand_back(0.01))
    await asyncio.sleep(0)
    turn(FREE_AFTER + 1)
    watch._tell_program(())  # noqa: SLF001 - one look of many
    await standing
    watch._tell_program(())  # noqa: SLF001
    message = "Revision 1 got no lock because of pid 7; next try in 0.0 s."
    assert told == [Waiting("WaitingForLock", message)]
    turn(FREE_AFTER + 1)
    watch._tell_program(())  # noqa: SLF001
    assert told[1:] == [Working("Revision 1 runs.")]


@pytest.mark.parametrize(("attempt", "longest"), [(2, 0.5), (3, 1.0), (4, 2.0), (6, 8.0), (7, 10.0), (ATTEMPTS, 10.0)])
def test_tries_stand_back_longer_each_time_up_to_a_bound_and_never_all_together(attempt: int, longest: float) -> None:
    pauses = [pause_before(attempt) for _ in range(200)]
    assert longest / 2 <= min(pauses) < longest * 0.7
    assert longest * 0.8 < max(pauses) <= longest <= LONGEST_PAUSE


def test_a_rhythm_begins_anew_where_it_was_ended(turn: Clock) -> None:
    rhythm = Rhythm()
    assert [rhythm.is_due(), rhythm.is_due()] == [True, False]
    turn(progress.TELL_EVERY)
    assert [rhythm.is_due(), rhythm.is_due()] == [True, False]
    rhythm.start_over()
    assert rhythm.is_due()


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "load_settings", lambda *_, **__: UNREACHABLE)


async def _cancelled(_: Settings) -> None:
    raise asyncio.CancelledError


def _raising(error: BaseException) -> Callable[[Settings], Any]:
    async def command(_: Settings) -> None:
        raise error

    return command


@pytest.mark.usefixtures("configured")
def test_sigterm_is_an_exit_code_of_its_own_and_a_last_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert TERMINATED == 143
    with pytest.raises(SystemExit) as ended:
        run_command(_cancelled)
    assert ended.value.code == 143
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as ended:
        run_command(_cancelled, marked=True)
    assert ended.value.code == 143
    failed = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))
    assert (failed["reason"], failed["lasting"]) == ("MigrationFailed", False)
    assert "ended by SIGTERM" in failed["message"]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MigrationError("A sentence."), "A sentence."),
        (FilesError("A folder."), "A folder."),
        (ConnectionRefusedError(111, "refused"), "The database: ConnectionRefusedError: refused."),
    ],
)
def test_a_fault_is_one_sentence_and_exit_code_1(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(click.ClickException) as told:
        run_command(_raising(error))
    assert (told.value.message, told.value.exit_code) == (said, 1)
    with pytest.raises(SystemExit) as ended:
        run_command(_raising(error), marked=True)
    assert ended.value.code == 1
    written = capsys.readouterr()
    assert said in written.out
    assert written.err == "", "where it happened is of no use"


@pytest.mark.usefixtures("configured")
def test_a_fault_that_nobody_foresaw_says_where_and_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(_raising(KeyError("hush")), marked=True)
    written = capsys.readouterr()
    assert "Unexpected KeyError" in written.out
    assert f"{__file__}:" in written.err
    assert " in command\n" in written.err
    assert "hush" not in written.out + written.err
    with pytest.raises(KeyError):
        run_command(_raising(KeyError("bug")))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MigrationError("A sentence."), "A sentence."),
        (FilesError("A folder."), "A folder."),
        (asyncpg.ConnectionDoesNotExistError("x"), "the connection was lost"),
        (asyncpg.InterfaceError("x"), "the connection was lost"),
        (TimeoutError(), "no answer within the time limit"),
        (OSError(111, "refused"), "ConnectionRefusedError: refused"),
        (OSError("all of them"), "OSError: all of them"),
        (KeyError("hush"), "KeyError"),
    ],
)
def test_whatever_happened_is_said_in_a_few_words(error: BaseException, said: str) -> None:
    assert describe(error) == said


class Answers:
    """What a connection is to `refuse_pooler`."""

    def __init__(self, answer: int | Exception) -> None:
        self.answer = answer
        self.terminated = False

    async def fetchval(self, _query: str, timeout: float) -> int:
        assert timeout
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def get_server_pid(self) -> int:
        return 7

    def terminate(self) -> None:
        self.terminated = True


@pytest.mark.parametrize(
    "answer", [8, asyncpg.InvalidSQLStatementNameError("x"), asyncpg.DuplicatePreparedStatementError("x")]
)
async def test_another_session_that_answers_is_a_pooler_and_its_connection_is_dropped(
    answer: int | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Answers(answer)

    async def connect(*_: object, **__: object) -> Answers:
        return connection

    monkeypatch.setattr(session, "connect", connect)
    with pytest.raises(MigrationError, match="connection pooler") as refused:
        await connect_within(UNREACHABLE, 0.0, Progress(print))
    assert refused.value.reason == "PoolerInBetween"
    assert connection.terminated
    await refuse_pooler(cast("asyncpg.Connection", Answers(7)), timeout=1)


@pytest.mark.parametrize(
    ("error", "tries", "raised"),
    [
        (ssl.SSLCertVerificationError("of another"), 1, ssl.SSLCertVerificationError),
        (asyncpg.InvalidPasswordError("x"), 1, asyncpg.InvalidPasswordError),
        (asyncpg.ProtocolViolationError("x"), 1, MigrationError),
        (ConnectionRefusedError(111, "refused"), 3, ConnectionRefusedError),
        (asyncpg.TooManyConnectionsError("x"), 3, asyncpg.TooManyConnectionsError),
    ],
)
async def test_what_waiting_does_not_mend_is_told_at_once(
    error: Exception, tries: int, raised: type[Exception], turn: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    lines: list[str] = []
    events: list[Waiting | Working] = []

    async def connect(*_: object, **__: object) -> None:
        nonlocal tried
        tried += 1
        turn(5.0)
        raise error

    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.setattr(session, "CONNECT_PAUSE", (0.0, 0.0))
    with pytest.raises(raised):
        await connect_within(UNREACHABLE, 12.0, Progress(lines.append, events.append))
    assert tried == tries
    assert len(lines) == (1 if tries > 1 else 0), "people are told once"
    assert [event.message.rpartition(" for ")[2] for event in events] == (["7 s.", "2 s."] if tries > 1 else [])


async def test_a_time_limit_of_another_kind_is_not_taken_for_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(session, "connect", connect)
    with pytest.raises(TimeoutError):
        async with alone(UNREACHABLE, Progress(print)):
            pass


async def test_who_watches_for_blockers_is_gone_with_the_work_also_where_they_can_not_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []
    looks = asyncio.Event()

    class Connection:
        async def fetch(self, *_: object) -> list[object]:
            looks.set()
            return []

        def terminate(self) -> None:
            closed.append(True)

    async def connect(*_: object, **__: object) -> Connection:
        return Connection()

    async def refused(*_: object, **__: object) -> Connection:
        raise ConnectionRefusedError

    async def blocking(connection: Connection, _pid: int) -> tuple[Blocker, ...]:
        await connection.fetch()
        return ()

    monkeypatch.setattr(locks, "blocking", blocking)
    before = asyncio.all_tasks()
    for way, terminated in ((connect, [True]), (refused, [True])):
        monkeypatch.setattr(locks, "connect", way)
        async with locks.watching(UNREACHABLE, 7, Progress(print), "Revision 1") as watch:
            if way is connect:
                await asyncio.wait_for(looks.wait(), 5)
            else:
                await asyncio.sleep(0)
        assert asyncio.all_tasks() == before, "waited for, not only told"
        assert closed == terminated
        assert watch.last == ()
