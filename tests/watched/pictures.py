"""Pictures of a dashboard, by Grafana's own components in a headless Chromium; needs node and npm."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from servers.prometheus import Prometheus
from watched.asked import VARIABLES, Span

SOURCES = Path(__file__).parents[2] / "observability" / "pictures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
STYLE = """*{box-sizing:border-box} body{margin:0;font:14px Inter,Helvetica,Arial,sans-serif}
button{font:inherit;color:inherit;background:none;border:0;padding:0;text-align:left}"""
NPM_SECONDS = 900
DRAW_SECONDS = 60
WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Picture:
    """Of the panels above row `until` of the grid, `width` pixels wide."""

    dashboard: dict[str, Any]
    span: Span
    until: int = WHOLE
    width: int = 1280


def bundle() -> Path:
    """The folder with what a page loads. Fetches by the lock file, once; raises CalledProcessError."""
    made = SOURCES / "made"
    if not (SOURCES / "node_modules").is_dir():
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    _npm("run", "bundle")
    return made


def _npm(*words: str) -> None:
    program = shutil.which("npm")
    assert program is not None, "npm is missing: install node and npm."
    subprocess.run([program, "--silent", *words], cwd=SOURCES, check=True, timeout=NPM_SECONDS)


def draw(prometheus: Prometheus, picture: Picture, made: Path, out: Path) -> None:
    """Writes a PNG. AssertionError with what the page says when it can't be drawn."""
    scene = {
        "dashboard": picture.dashboard,
        "prometheus": prometheus.url,
        "from": int(picture.span.begin),
        "to": int(picture.span.end),
        "step": 3,
        "variables": VARIABLES,
        "until": picture.until,
        "width": picture.width,
    }
    told = json.dumps(scene).replace("</", "<\\/")
    page = made / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="draw.css"><style>{STYLE}</style>'
        f'<div id="dashboard"></div><script>window.scene = {told}</script><script src="draw.js"></script>',
        encoding="utf-8",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(_shoot(page, picture.width, out))


async def _shoot(page: Path, width: int, out: Path) -> None:
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: install Debian's package chromium."
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            shown = await browser.new_page(viewport={"width": width, "height": 900})
            await shown.goto(page.as_uri())
            await shown.wait_for_function("/^(drawn|failed)/.test(document.title)", timeout=DRAW_SECONDS * 1000)
            said = await shown.title()
            assert said == "drawn", said
            await shown.locator("#dashboard > div").screenshot(path=str(out))
        finally:
            await browser.close()
