"""docs/audit.md names the actions that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from integration.domains.kept import KEPT
from slipway.worker import EXPIRIES

ROOT = Path(__file__).parents[2]


def actions(source: str) -> Iterator[str]:
    """Those that a module names by `Action(noun, verb)`."""
    for each in ast.walk(ast.parse(source)):
        match each:
            case ast.Call(func=ast.Name("Action"), args=[ast.Constant(noun), ast.Constant(verb)]):
                yield f"{noun}.{verb}"


def verbs(source: str) -> Iterator[str]:
    """What is done with jobs: written by that verb, or by one that is chosen before."""
    for each in ast.walk(ast.parse(source)):
        match each:
            case ast.Call(
                func=ast.Name("write") | ast.Attribute(attr="write" | "_write"), args=[*_, ast.Constant(verb), _]
            ):
                yield f"jobs.{verb}"
            case ast.Assign(targets=[ast.Name("verb")], value=ast.IfExp() as choice):
                yield from (f"jobs.{verb}" for verb in branches(choice))


def branches(choice: ast.expr) -> list[str]:
    if isinstance(choice, ast.IfExp):
        return [*branches(choice.body), *branches(choice.orelse)]
    return [ast.literal_eval(choice)]


def test_the_page_names_every_action_with_the_things_that_it_speaks_of_and_no_other() -> None:
    """A domain that is added needn't be there."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "service/slipway").rglob("*.py")}
    named = {name for source in sources.values() for name in actions(source)}
    named |= {name for path, source in sources.items() if path.parent.name == "jobs" for name in verbs(source)}
    named |= {f"{kept.table}.{verb}" for kept in KEPT for verb in ("create", "change", "delete")}
    named |= {f"{expiry.table}.purge" for expiry in EXPIRIES}
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8").partition("## Actions")[2]
    listed = re.findall(r"`([a-z_]+\.[a-z_]+)`", page)
    nouns = {name.partition(".")[0] for name in listed}
    assert nouns >= {"users", "sessions", "items", "exports", "jobs", "audit"}
    assert sorted(listed) == sorted(name for name in named if name.partition(".")[0] in nouns)
