"""Makes another release of the Slipway that is installed here: revisions behind its last one, and code for them.

install.py [--renamed] [--forked] REVISION …
"""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

import sys
from pathlib import Path

import slipway
from slipway.migrations.script import VERSIONS, read_chain

PACKAGE = Path(slipway.__file__).parent
REVISIONS = Path(__file__).parent
CODE = {
    "items/models.py": (
        'body: Mapped[str] = mapped_column(default="")',
        'body: Mapped[str] = mapped_column("content", key="body", default="")',
    ),
}
"""File → what it holds, and what instead: the column `body` of items is called `content`."""


def install(names: list[str], *, forked: bool) -> None:
    """Each behind the one before it; `forked`: each behind the last one that was here."""
    head = read_chain().head
    for name in names:
        text = (REVISIONS / f"{name}.py").read_text()
        (VERSIONS / f"{name}.py").write_text(replaced(text, "down_revision = None", f"down_revision = {head!r}"))
        if not forked:
            head = name


def rename() -> None:
    for name, (old, new) in CODE.items():
        path = PACKAGE / name
        path.write_text(replaced(path.read_text(), old, new))
        # The image's bytecode is used without a look at its source.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()


def replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        sys.exit(f"{old!r} isn't there once: the release of the tests has to follow the code")
    return text.replace(old, new)


def main() -> None:
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    install([word for word in sys.argv[1:] if word not in options], forked="--forked" in options)
    if "--renamed" in options:
        rename()


if __name__ == "__main__":
    main()
