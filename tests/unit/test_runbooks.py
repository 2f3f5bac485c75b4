"""Runbooks: one for each alert, alike in shape, with commands that run by themselves and call what there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from runbook_pages import FOLDER, GIVEN, ROOT, Page, broken_links, calls, pages
from slipway.cli import root

ALERTS = {path.stem for path in (ROOT / "chart" / "alerts").glob("*.yaml")}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
WAITING = {"delete", "rollout status", "wait", "rollback", "upgrade"}
"""Verbs that wait for something, and so need a bound."""
LONGEST_PAGE = 80
FOREVER = {"-f", "-i", "-it", "-t", "-w", "--follow", "--stdin", "--tty", "--watch"}


def verb(call: list[str]) -> str:
    """`rollout status` of `kubectl -n ships rollout status …`."""
    words = [word for word in call[1:] if word not in {"-n", GIVEN["NAMESPACE"]}]
    return " ".join(words[:2]) if words[0] == "rollout" else words[0]


def own_words(call: list[str]) -> list[str]:
    """What kubectl itself reads; not what it has a container run."""
    return call[: call.index("--")] if "--" in call else call


def faults(call: list[str]) -> Iterator[str]:
    """Why a command can't run at night with nobody there, or hits something else than the release."""
    if call[0] == "jq":
        return
    words, doing = own_words(call), verb(call)
    if "-n" not in words or words[words.index("-n") + 1] != GIVEN["NAMESPACE"]:
        yield "it leaves the namespace to chance"
    if FOREVER & set(words):
        yield "it doesn't end by itself, or wants a terminal"
    if doing == "logs" and not any(word.startswith("--tail=") for word in words):
        yield "it prints a whole log"
    if doing in WAITING and not any(word.startswith("--timeout") for word in words):
        yield "it waits without bound"


def usage_fault(words: list[str]) -> str | None:
    """What the command line says to `slipway …`, which isn't run; None where it is content."""
    command: click.Command = root
    # As a child of the program's own: click keeps what a command's first context makes of its help.
    context = click.Context(root, info_name="slipway", **root.context_settings)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no {words[0]!r}"
        command, words = found, words[1:]
    try:
        command.make_context(command.name, list(words), parent=context)
    except click.UsageError as error:
        return error.format_message()
    return "a command is missing" if isinstance(command, click.Group) else None


@pytest.fixture(params=pages(), ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Page:
    found: Page = request.param
    return found


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert {page.name for page in pages()} == ALERTS


def test_a_runbook_has_its_title_and_the_four_sections_in_order(page: Page) -> None:
    assert page.text.startswith(f"# {page.name}\n\n## Meaning\n")
    assert page.sections == SECTIONS
    assert all(page.section(title).strip() for title in SECTIONS)
    assert page.text.count("\n") <= LONGEST_PAGE, "nobody reads more at three in the morning"


def test_there_is_something_to_run_for_diagnosis_and_for_mitigation(page: Page) -> None:
    assert page.blocks(section="Diagnosis")
    assert len(page.blocks(section="Mitigation")) == 1, "one that a machine may run; whatever depends is text"
    assert len(page.blocks()) + len(page.blocks("text")) == page.text.count("\n```\n"), "no third kind of block"


def test_each_diagnosis_says_what_healthy_looks_like(page: Page) -> None:
    before = page.section("Diagnosis").split("```sh\n")[:-1]
    assert all("Healthy: " in text.rpartition("```\n")[2] for text in before)


def test_links_of_runbooks_lead_somewhere(page: Page) -> None:
    assert broken_links(page.text, FOLDER) == []


def test_commands_run_by_themselves_with_nothing_but_namespace_and_release(page: Page, tmp_path: Path) -> None:
    for block in page.blocks():
        made = calls(block, tmp_path)
        assert made, f"{block} does nothing"
        assert {f"{call}: {fault}" for call in made for fault in faults(call)} == set()
        for call in made:
            inside = call[call.index("--") + 1 :] if "--" in call else []
            if inside[:1] == ["slipway"]:
                assert usage_fault(inside[1:]) is None, inside


@pytest.mark.parametrize(
    "call",
    [
        "kubectl get pods",
        "kubectl -n others get pods",
        "kubectl -n ships logs api --tail=5 -f",
        "kubectl -n ships logs api",
        "kubectl -n ships exec -it api -- slipway jobs list",
        "kubectl -n ships rollout status deployments",
        "helm -n ships rollback harbour",
    ],
)
def test_a_command_that_could_hang_or_miss_the_release_is_objected_to(call: str) -> None:
    assert list(faults(call.split()))


@pytest.mark.parametrize("words", ["jobs revive --all", "jobs retry --everything", "jobs", "jobs drop", "job list"])
def test_a_command_that_slipway_lacks_is_objected_to(words: str) -> None:
    assert usage_fault(words.split())


@pytest.mark.parametrize("block", ['echo "$POD"', "false | true", "exit 3", "if true"])
def test_a_block_that_fails_or_asks_for_another_variable_is_objected_to(block: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with"):
        calls(block, tmp_path)


@pytest.mark.parametrize("link", ["Nothing.md", "../operations.md#no-such-title"])
def test_a_link_to_nowhere_is_objected_to(link: str) -> None:
    assert broken_links(f"[there]({link})", FOLDER) == [link]


def test_sections_in_another_order_are_told_apart() -> None:
    assert Page("Example", "# Example\n\n## Impact\n\n## Meaning\n").sections == ["Impact", "Meaning"]
