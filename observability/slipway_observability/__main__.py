"""Writes recording rules, burn-rate alerts, dashboards and the index of runbooks."""

from __future__ import annotations

from pathlib import Path

from slipway_observability.outputs import outputs

ROOT = Path(__file__).parents[2]


def main() -> None:
    for path, text in outputs(ROOT).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
