"""The chart's reference, made from chart/values.yaml: chart/values.schema.json and the value tables of chart/README.md.

    python -m charts.reference            writes both
    python -m charts.reference --check    says what differs, and ends with 1 when anything does

The comment block directly above a key describes it. Its lines `# @schema {…}`, read as one text, are JSON Schema that
goes over what the default tells. A line `## …` anywhere is the heading of the keys below it. Every object is closed
unless its `@schema` opens it; an open object is one row of the table, whatever its default holds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

CHART = Path(__file__).resolve().parents[2] / "chart"
BEGIN, END = "<!-- values: begin (made by `python -m charts.reference`) -->", "<!-- values: end -->"
LONGEST_DEFAULT = 100
"""Characters of a default that a table cell still shows."""
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
SUBCHART_CONDITION = {"type": "boolean", "description": "What a parent chart's `condition` reads; this chart doesn't."}


class UndocumentedError(Exception):
    """The values file can't be documented; the message names the key, or the marker that is missing."""


@dataclass(frozen=True)
class Entry:
    """One key of the values file: what it holds by default, and what its comment says about it."""

    path: tuple[str, ...]
    default: Any
    description: str
    fragment: dict[str, Any]
    section: str
    children: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return ".".join(self.path)


def read_entries(text: str) -> tuple[Entry, ...]:
    """The keys of a values file, in its order. Raises UndocumentedError for a key that says too little."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise UndocumentedError("values.yaml must hold a mapping.")
    lines = text.splitlines()
    return tuple(_entries(root, yaml.safe_load(text), (), lines))


def _entries(
    node: yaml.MappingNode, values: dict[str, Any], parent: tuple[str, ...], lines: list[str]
) -> Iterator[Entry]:
    for key_node, value_node in node.value:
        key, row = key_node.value, key_node.start_mark.line
        path = (*parent, key)
        description, fragment = _comment_above(lines, row, ".".join(path))
        opened = "additionalProperties" in fragment and path != ("global",)
        children: tuple[Entry, ...] = ()
        if isinstance(value_node, yaml.MappingNode) and value_node.value and not opened:
            children = tuple(_entries(value_node, values[key], path, lines))
        yield Entry(path, values[key], description, fragment, _section(lines, row), children)


def _comment_above(lines: list[str], row: int, name: str) -> tuple[str, dict[str, Any]]:
    first = row
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    described: list[str] = []
    told: list[str] = []
    for line in (line.strip() for line in lines[first:row]):
        if line.startswith("##"):
            described.clear()
        elif match := re.fullmatch(r"#\s*@schema\s+(.*)", line):
            told.append(match[1])
        else:
            described.append(line.removeprefix("#").strip())
    return " ".join(part for part in described if part), _fragment(" ".join(told), name) if told else {}


def _fragment(text: str, name: str) -> dict[str, Any]:
    try:
        fragment = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UndocumentedError(f"{name}: its @schema is no YAML: {error}") from error
    if not isinstance(fragment, dict):
        raise UndocumentedError(f"{name}: its @schema must be a mapping such as {{minimum: 1}}.")
    return fragment


def _section(lines: list[str], row: int) -> str:
    headings = (line.strip() for line in reversed(lines[:row]) if line.lstrip().startswith("## "))
    return next(headings, "## ").removeprefix("## ").strip()


def schema(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """JSON Schema (2020-12) of all values. Raises UndocumentedError where the file's own defaults break it."""
    known = {"enabled": SUBCHART_CONDITION, **{entry.path[-1]: _property(entry) for entry in entries}}
    # A parent chart's globals come along, whatever they are called.
    known["global"] = {**known.get("global", {"type": "object"}), "additionalProperties": True}
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the Slipway chart",
        "type": "object",
        "additionalProperties": False,
        **_required(entries),
        "properties": known,
    }
    Draft202012Validator.check_schema(made)
    defaults = {entry.path[-1]: entry.default for entry in entries}
    for fault in Draft202012Validator(made).iter_errors(defaults):
        raise UndocumentedError(
            f"{'.'.join(map(str, fault.absolute_path))}: the default breaks the schema: {fault.message}"
        )
    return made


def _property(entry: Entry) -> dict[str, Any]:
    if entry.children:
        described = {"description": entry.description} if entry.description else {}
        known = {child.path[-1]: _property(child) for child in entry.children} | entry.fragment.get("properties", {})
        closed = {"type": "object", "additionalProperties": False, **_required(entry.children)}
        return {**described, **closed, **entry.fragment, "properties": known}
    if not entry.description:
        raise UndocumentedError(f"{entry.name}: no comment above it says what it means.")
    inferred = {} if {"anyOf", "oneOf", "$ref"} & set(entry.fragment) else _inferred(entry)
    return {"description": entry.description, **inferred, **entry.fragment, "default": entry.default}


def _required(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """Keys that a user may not take away with null; where null says no more than empty does, it may stay."""
    names = [entry.path[-1] for entry in entries if not _may_be_null(entry)]
    return {"required": names} if names else {}


def _may_be_null(entry: Entry) -> bool:
    told = entry.fragment
    if entry.default is None or "null" in told.get("type", ()):
        return True
    if isinstance(entry.default, str):
        return "" in told["enum"] if "enum" in told else not told.get("minLength")
    return isinstance(entry.default, list | dict) and not (entry.children or told.get("minItems") or "required" in told)


def _inferred(entry: Entry) -> dict[str, Any]:
    default, told = entry.default, entry.fragment
    if default is None and "type" not in told:
        raise UndocumentedError(
            f'{entry.name}: null tells no type; add `# @schema {{type: [string, "null"]}}` or the like.'
        )
    if default == [] and "items" not in told:
        raise UndocumentedError(
            f"{entry.name}: an empty list tells nothing; add `# @schema {{items: {{type: string}}}}`."
        )
    if default == {} and not {"additionalProperties", "properties"} & set(told):
        raise UndocumentedError(
            f"{entry.name}: an empty map tells nothing; add `# @schema {{additionalProperties: true}}`."
        )
    if default is None:
        return {}
    inferred: dict[str, Any] = {"type": TYPES[type(default)]}
    if isinstance(default, list) and default:
        kinds = sorted({TYPES[type(item)] for item in default})
        inferred["items"] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if isinstance(default, dict):
        inferred["additionalProperties"] = False
    return inferred


def leaves(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The entries that a user sets: scalars, lists and open objects, in the file's order."""
    for entry in entries:
        if entry.children:
            yield from leaves(entry.children)
        else:
            yield entry


def tables(entries: tuple[Entry, ...]) -> str:
    """Markdown: a heading and a table for each section."""
    blocks: list[str] = []
    section = None
    for entry in leaves(entries):
        if entry.section != section:
            section = entry.section
            heading = [f"### {section}", ""] if section else []
            blocks += [*([""] if blocks else []), *heading, "| Value | Default | Meaning |", "| --- | --- | --- |"]
        meaning = entry.description.replace("|", "\\|")
        blocks.append(f"| `{entry.name}` | {_cell(entry.default)} | {meaning}{_choices(entry)} |")
    return "\n".join(blocks)


def _cell(default: Any) -> str:
    if default in (None, ""):
        return "none"
    shown = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)
    if len(shown) > LONGEST_DEFAULT or "\n" in shown:
        return "see [values.yaml](values.yaml)"
    return "`" + shown.replace("|", "\\|") + "`"


def _choices(entry: Entry) -> str:
    choices = [str(choice) for choice in entry.fragment.get("enum", ()) if choice not in (None, "")]
    return f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""


def outputs(chart: Path) -> dict[Path, str]:
    """What the two files should hold, by their path; reads values.yaml and the text around README.md's tables."""
    entries = read_entries((chart / "values.yaml").read_text())
    readme = (chart / "README.md").read_text()
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UndocumentedError(f"README.md needs the lines {BEGIN} and {END}; the tables go between them.")
    return {
        chart / "values.schema.json": json.dumps(schema(entries), indent=2, ensure_ascii=False) + "\n",
        chart / "README.md": f"{before}{BEGIN}\n\n{tables(entries)}\n\n{END}{after}",
    }


def drift(path: Path, wanted: str) -> list[str]:
    """The lines that differ between a file and what it should hold; empty when they agree."""
    found = (path.read_text() if path.exists() else "").splitlines()
    return list(unified_diff(found, wanted.splitlines(), path.name, "as values.yaml says", lineterm="", n=0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="charts.reference", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a file differs")
    parser.add_argument("--chart", type=Path, default=CHART, help="folder of the chart")
    options = parser.parse_args(arguments)
    try:
        wanted = outputs(options.chart)
    except UndocumentedError as error:
        print(error, file=sys.stderr)
        return 2
    changed = {path: lines for path, text in wanted.items() if (lines := drift(path, text))}
    for path, lines in changed.items():
        if options.check:
            print("\n".join(lines), file=sys.stderr)
        else:
            path.write_text(wanted[path])
            print(f"wrote {path}")
    if options.check and changed:
        print("The reference is out of date: run `python -m charts.reference`.", file=sys.stderr)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
