"""Whatever ends a run of the script, its last line says why; and it asks of an image no more than the image needs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from servers.databases import TestDatabase
from servers.migration_images import table
from servers.plain_alembic_images import Run, binding, finish, mount, plain_image
from slipway_operator.migrations.script import SCRIPT_FILE, script_files

SYNCHRONOUS = """
from alembic import context
from sqlalchemy import create_engine

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
FOREVER = "threading.Event().wait()\n"
RUN = "import runpy, sys; {before}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def synchronous_image(folder: Path) -> Path:
    config = plain_image(folder, table("a"))
    (folder / "env.py").write_text(SYNCHRONOUS)
    config.write_text(config.read_text().replace("+asyncpg", "+psycopg"))
    return config


async def run(config: Path, login: Path | None, *arguments: str, before: str = "0") -> Run:
    """The script after one statement more, such as `sys.modules['x'] = None`, for a module that an image lacks."""
    folder = config.parent / "mount"
    if not folder.exists():
        folder.mkdir(parents=True)
        mount(folder, script_files())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN.format(before=before), str(folder / SCRIPT_FILE), f"--config={config}", *arguments,
        "--marked", env={"PATH": os.environ["PATH"], "SLIPWAY_DATABASE_CREDENTIALS_DIR": str(login or "")},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return await finish(process)


def lacking(module: str) -> str:
    return f"sys.modules[{module!r}] = None"


async def test_a_synchronous_image_is_planned_run_and_gated_without_greenlet(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    config, login = synchronous_image(tmp_path / "image"), binding(tmp_path / "login", empty_database)
    plan = await run(config, login, "plan", before=lacking("greenlet"))
    assert [one["id"] for one in plan.plan["revisions"]] == ["a"]
    upgrade = await run(config, login, "upgrade", before=lacking("greenlet"))
    assert (upgrade.code, upgrade.last["applied"]) == (0, ["a"])
    assert (await run(config, login, "wait", before=lacking("greenlet"))).code == 0


async def test_an_asynchronous_image_without_greenlet_is_told_what_it_lacks(
    empty_database: TestDatabase, tmp_path: Path
) -> None:
    config, login = plain_image(tmp_path / "image", table("a")), binding(tmp_path / "login", empty_database)
    for command in ("plan", "upgrade", "wait"):
        ended = await run(config, login, command, before=lacking("greenlet"))
        assert (ended.code, ended.last["type"], ended.last["reason"]) == (1, "failed", "MigrationFailed")
        assert "env.py failed: ImportError of greenlet" in ended.last["message"]


@pytest.mark.parametrize("module", ["alembic", "sqlalchemy", "graphlib"])
async def test_an_image_that_lacks_a_module_is_told_which(tmp_path: Path, module: str) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    for command in ("plan", "wait"):
        ended = await run(config, None, command, before=lacking(module))
        assert (ended.code, ended.last["reason"], ended.last["lasting"]) == (1, "ModuleMissing", True)
        assert f"lacks module {module}" in ended.last["message"]


async def test_an_older_python_is_told_by_its_version(tmp_path: Path) -> None:
    ended = await run(plain_image(tmp_path / "image"), None, "plan", before="sys.version_info = (3, 8, 1)")
    assert (ended.last["reason"], ended.last["lasting"]) == ("PythonTooOld", True)
    assert "Python 3.8" in ended.last["message"]


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("env.py", "sys.exit('a-secret')"),
        ("env.py", "raise KeyboardInterrupt"),
        ("env.py", "import absent_from_here"),
        ("versions/0000_a.py", "sys.exit('a-secret')"),
        ("versions/0000_a.py", "import absent_from_here"),
        ("upgrade", "sys.exit('a-secret')"),
        ("upgrade", "raise KeyboardInterrupt"),
    ],
)
async def test_whatever_the_images_own_code_does_is_told_in_the_last_line(
    empty_database: TestDatabase, tmp_path: Path, place: str, word: str
) -> None:
    config, login = plain_image(tmp_path / "image", table("a")), binding(tmp_path / "login", empty_database)
    file = tmp_path / "image" / ("versions/0000_a.py" if place == "upgrade" else place)
    text = file.read_text()
    if place == "upgrade":
        inside = text.replace("def upgrade():\n", f"def upgrade():\n    import sys; {word}\n")
        assert inside != text, text
        file.write_text(inside)
    else:
        file.write_text(f"{text}\nimport sys; {word}\n")
    ended = await run(config, login, "upgrade")
    assert (ended.code, ended.last["type"]) == (1, "failed")
    assert "a-secret" not in ended.output + ended.errors
    if word.startswith("import"):
        assert "absent_from_here" in ended.last["message"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "can't be read: No such file or directory"),
        ("", "can't be read: Is a directory"),
        ("[alembic]\n", "No 'script_location' key"),
        ("# one\nscript_location = x\n", "MissingSectionHeaderError at alembic.ini:2"),
        ("[alembic]\nscript_location = /nowhere\n", "Path doesn't exist: /nowhere"),
    ],
)
async def test_an_alembic_ini_that_leads_nowhere_is_told_by_what_is_wrong(
    tmp_path: Path, text: str | None, told: str
) -> None:
    config = tmp_path / "alembic.ini"
    if text:
        config.write_text(text)
    elif text is not None:
        config.mkdir()
    for command in ("plan", "wait"):
        ended = await run(config, None, command)
        assert (ended.code, ended.last["reason"], ended.last["lasting"]) == (1, "RevisionsUnreadable", True)
        assert str(config) in ended.last["message"]
        assert told in ended.last["message"]


@pytest.mark.parametrize("command", ["plan", "upgrade", "announce", "wait"])
async def test_an_env_py_that_runs_nothing_ends_each_command_at_once(tmp_path: Path, command: str) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    (tmp_path / "image" / "env.py").write_text("from alembic import context\n")
    ended = await run(config, None, command)
    assert (ended.code, ended.last["reason"], ended.last["lasting"]) == (1, "MigrationFailed", False)
    assert "without context.run_migrations()" in ended.last["message"]


async def test_a_mistake_in_the_text_of_env_py_is_told_by_its_line(tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    (tmp_path / "image" / "env.py").write_text("first = 1\nsecond = = 'a-secret'\n")
    ended = await run(config, None, "plan")
    assert "SyntaxError at env.py:2" in ended.last["message"]
    assert "a-secret" not in ended.output + ended.errors


TEMPLATE = """
class CompileException(Exception):  # as Mako's
    filename, lineno, source = None, 2, "CREATE ROLE r PASSWORD 's3/cret'"
raise CompileException
"""


async def test_the_text_that_an_error_carries_is_told_to_nobody(tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    (tmp_path / "image" / "env.py").write_text(TEMPLATE)
    ended = await run(config, None, "plan")
    assert "CompileException at env.py:4" in ended.last["message"]
    assert "cret" not in ended.output


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"])
async def test_by_whatever_signal_its_container_is_stopped_it_tells_which(tmp_path: Path, name: str) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    number = signal.Signals[name]
    (tmp_path / "image" / "env.py").write_text(f"import os, threading\nos.kill(os.getpid(), {number})\n{FOREVER}")
    ended = await run(config, None, "plan")
    assert (ended.code, ended.last["reason"]) == (128 + number, "MigrationFailed")
    assert f"ended by {name};" in ended.last["message"]


async def test_a_driver_that_crashes_leaves_the_line_where_it_did(tmp_path: Path) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    (tmp_path / "image" / "env.py").write_text("import ctypes\nctypes.string_at(0)\n")
    ended = await run(config, None, "plan")
    assert ended.code == -signal.SIGSEGV
    assert "Segmentation fault" in ended.errors
    assert 'env.py", line 2' in ended.errors


@pytest.mark.parametrize("command", ["upgrade", "announce", "withdraw"])
async def test_code_that_ends_the_process_well_leaves_a_log_that_does_not_say_done(
    tmp_path: Path, command: str
) -> None:
    config = plain_image(tmp_path / "image", table("a"))
    (tmp_path / "image" / "env.py").write_text("import os\nos._exit(0)\n")
    ended = await run(config, None, command)
    assert (ended.code, [line["type"] for line in ended.lines]) == (0, ["working"])


async def test_arguments_that_nobody_knows_are_told_in_the_last_line(tmp_path: Path) -> None:
    ended = await run(plain_image(tmp_path / "image"), None, "upgrade", "--of-a-newer-operator")
    assert (ended.code, ended.last["reason"]) == (2, "ArgumentsRefused")
    assert "--of-a-newer-operator" in ended.last["message"]
