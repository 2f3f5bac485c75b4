"""`python -m charts.lint`: Helm's own lint, and yamllint on what the chart renders, for the demo and each example."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from yamllint import linter
from yamllint.config import YamlLintConfig

from cluster.binaries import tool
from cluster.commands import CommandError
from cluster.helm import Helm

CHART = Path(__file__).parents[2] / "chart"
# People read the templates; of what they render, only what parsers take in different ways matters.
RENDERED = YamlLintConfig("rules: {key-duplicates: enable, truthy: enable, quoted-strings: disable}")


def faults(helm: Helm, values: Path) -> list[str]:
    """What is wrong with the chart under these values, a line each."""
    try:
        helm.run("lint", str(CHART), "--strict", f"--values={values}")
        text = helm.run("template", "slipway", str(CHART), f"--values={values}")
    except CommandError as error:
        return [f"{values.name}: {error}"]
    return [f"{values.name}, rendered: {problem}" for problem in linter.run(text, RENDERED)]


def main() -> int:
    helm = Helm(tool("helm"))
    examples = sorted((CHART / "examples").glob("*.yaml"))
    with ThreadPoolExecutor(4) as pool:
        found = [fault for each in pool.map(lambda values: faults(helm, values), examples) for fault in each]
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
