"""The runbooks as tests see them: their sections, their commands, and what those call, as stand-ins note it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "runbooks"
INDEX = "README"

GIVEN = {"NAMESPACE": "ships", "RELEASE": "harbour"}
"""The variables that a page may use without setting them."""

STAND_IN = r"""#!/bin/bash
printf '%s\0' "${0##*/}" "$@" > "$CALLS/$$"
case "${0##*/} $*" in
  *" -o name") echo example/harbour-api ;;
  "jq "*) cat > /dev/null; echo 1 ;;
esac
"""
"""Stands for kubectl, helm and jq: notes how it was called, and answers what a page asks for in order to go on."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    name: str
    text: str

    @property
    def sections(self) -> list[str]:
        return re.findall(r"^## (.+)$", _FENCE.sub("", self.text), re.MULTILINE)

    def section(self, title: str) -> str:
        """What stands below a title, up to the next."""
        return self.text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]

    def blocks(self, language: str = "sh", section: str | None = None) -> list[str]:
        """The fenced texts of a language, in order."""
        text = self.text if section is None else self.section(section)
        return [body for kind, body in _FENCE.findall(text) if kind == language]


def pages() -> list[Page]:
    """Every runbook; not the index."""
    return [Page(path.stem, path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.md")) if path.stem != INDEX]


def calls(block: str, folder: Path) -> list[list[str]]:
    """What a block has kubectl, helm and jq do, word by word, in no order. AssertionError where the block fails."""
    programs, made = folder / "bin", Path(mkdtemp(dir=folder))
    programs.mkdir(exist_ok=True)
    for name in ("kubectl", "helm", "jq"):
        program = programs / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env={**GIVEN, "PATH": f"{programs}:{os.defpath}", "CALLS": str(made)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, f"{block}\nended with {done.returncode}: {done.stderr}"
    return [call.read_text().split("\0")[:-1] for call in made.iterdir()]


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's titles, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(markdown: str, folder: Path) -> list[str]:
    """Relative links that lead to no file, or to no title in it."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", markdown):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = folder / path
        if not file.is_file() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            found.append(target)
    return found
