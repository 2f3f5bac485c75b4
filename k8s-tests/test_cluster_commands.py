"""Programs are run with a bound on time, and their complaints are shown."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from cluster.commands import CommandError, run


def test_output_of_a_program_that_succeeds_is_returned() -> None:
    assert run(["cat"], input="given") == "given"
    assert run(["sh", "-c", "echo $GREETING; pwd"], environment={"GREETING": "hi"}, folder=Path("/")) == "hi\n/\n"


def test_a_failure_shows_the_end_of_stderr_and_the_code() -> None:
    script = "for i in $(seq 100); do echo line $i >&2; done; exit 7"
    with pytest.raises(CommandError, match="ended with code 7") as caught:
        run(["sh", "-c", script])
    assert caught.value.stderr.splitlines()[-1] == "line 100"
    assert "line 80\n" not in str(caught.value)


def test_a_failure_that_complains_on_stdout_shows_that() -> None:
    with pytest.raises(CommandError, match="complaint"):
        run(["sh", "-c", "echo complaint; exit 1"])


def test_programs_of_root_are_found_with_the_path_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    folders = run(["sh", "-c", "echo $PATH"]).strip().split(":")
    assert folders == ["/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]


def test_a_missing_program_is_a_failure_too() -> None:
    with pytest.raises(CommandError, match="can't be started: No such file"):
        run(["no-such-program"])


def test_a_program_that_takes_too_long_ends_with_its_children(tmp_path: Path) -> None:
    begin = monotonic()
    with pytest.raises(CommandError, match=r"was not done after 2 s:\nbegan"):
        run(["sh", "-c", "echo began >&2; sleep 60; :"], timeout=2, folder=tmp_path)
    assert monotonic() - begin < 20, "the child holds the pipes open"


def test_input_is_not_shown_in_errors() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "exit 1"], input="a secret")
    assert "secret" not in str(caught.value)
