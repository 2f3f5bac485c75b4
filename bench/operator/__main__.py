# ruff: noqa: A005 - named for what it measures, and a folder so that it hides nothing
"""The benchmark of the operator: `python bench/operator [--resources 500] [--changes 300] [--idle 120] [--markdown]`.

A real API server holds the resources; what they are about is faked. First SchemaMigrations (schemas.py), then KeyRings
(rings.py). It is a folder without __init__.py, because a module operator.py would hide the standard library's from its
neighbours.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "k8s-tests"), str(ROOT / "tests")]

from bench.operator import rings, schemas  # noqa: E402
from bench.operator.process import place  # noqa: E402
from bench.report import as_markdown, as_text  # noqa: E402

from cluster.provider import open_cluster  # noqa: E402
from slipway_operator import definitions  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(prog="python bench/operator")
    parser.add_argument("--resources", type=int, default=500, help="of each kind")
    parser.add_argument("--changes", type=int, default=300, help="of each kind")
    parser.add_argument("--idle", type=float, default=120.0, help="seconds")
    parser.add_argument("--only", choices=("schemas", "rings"))
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    with open_cluster() as cluster:
        cluster.kubectl.apply(definitions.as_stream())
        for part in (schemas, rings):
            if options.only in {None, part.__name__.rpartition(".")[2]}:
                with place(cluster) as namespace:
                    measured = asyncio.run(part.measure(cluster, namespace, options))
                table = part.figures(options.resources, measured)
                print(as_markdown(table) if options.markdown else as_text(table), flush=True)


if __name__ == "__main__":
    main()
