"""How this machine's pip reaches packages, for a pip that runs in a build: mounted there as secrets, never kept."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.commands import CommandError, run

KEPT = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""What matters for reaching packages; the rest of a person's configuration is theirs."""

ADDRESSES = "find-links"
"""The one whose words may be folders of this machine, which a build doesn't see."""

CERTIFICATES_IN_BUILD = "/run/certificates.pem"


def parse(listing: str) -> dict[str, str]:
    """What `pip config list` prints, as {option: value}: variables go before files, as for pip itself."""
    found: dict[tuple[int, str], str] = {}
    ranks = {"global": 0, "install": 1, ":env:": 2}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ranks:
            found[ranks[section], option] = str(ast.literal_eval(value))
    return {option: found[rank, option] for rank, option in sorted(found)}


def host_settings() -> dict[str, str]:
    """What this machine's pip is told by files and variables; nothing where this Python has no pip."""
    try:
        listing = run([sys.executable, "-m", "pip", "config", "list"], timeout=60.0)
    except CommandError:
        return {}
    return parse(listing)


def configuration(settings: Mapping[str, str]) -> str:
    """A pip.conf for a build that has the CA bundle of `settings`, if any, at CERTIFICATES_IN_BUILD."""
    kept = {option: _words(option, settings[option]) for option in KEPT if option in settings}
    lines = ["[global]", *(f"{option} = {words}" for option, words in kept.items() if words)]
    if "cert" in settings:
        lines.append(f"cert = {CERTIFICATES_IN_BUILD}")
    return "\n".join(lines) + "\n"


def _words(option: str, value: str) -> str:
    """On one line, as pip takes several: a person may have written one on each."""
    return " ".join(word for word in value.split() if option != ADDRESSES or word.startswith(("http://", "https://")))


def secrets(folder: Path) -> dict[str, Path]:
    """The Dockerfile's secrets as files: `pip` (written to `folder`, for its owner only) and `certificates`."""
    settings = host_settings()
    file = folder / "pip.conf"
    file.touch(mode=0o600)
    file.write_text(configuration(settings), encoding="utf-8")
    found = {"pip": file}
    if "cert" in settings:
        found["certificates"] = Path(settings["cert"])
    return found
