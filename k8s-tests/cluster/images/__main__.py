"""`make image`: builds the image of the service and writes its bill of materials."""

from __future__ import annotations

import sys

from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.images.archive import Image, read_image
from cluster.images.base import PYTHON, base_archive
from cluster.images.build import ROOT, build
from cluster.images.sbom import bill_of_materials
from cluster.progress import Progress

SBOM = ROOT / "build" / "sbom" / "slipway-service.cdx.json"
MEGABYTE = 1_000_000


def main() -> int:
    progress = Progress()
    try:
        with progress.step("base image"):
            base = read_image(base_archive(PYTHON))
        with progress.step("image"):
            image = read_image(build(revision=_revision()))
    except (ClusterError, OSError) as error:  # OSError: a full disk, a folder that can't be written
        sys.stderr.write(f"{error}\n")
        return 1
    SBOM.parent.mkdir(parents=True, exist_ok=True)
    SBOM.write_text(bill_of_materials(image), encoding="utf-8")
    print(_summary(image, base))
    return 0


def _summary(image: Image, base: Image) -> str:
    above = image.size_above(base) / MEGABYTE
    lines = [
        f"image    {image.name}",
        f"archive  {image.archive}",
        f"size     {sum(image.sizes) / MEGABYTE:.0f} MB, {above:.0f} MB of it above {base.name}",
        f"sbom     {SBOM.relative_to(ROOT)}",
    ]
    return "\n".join(lines)


def _revision() -> str:
    """The commit that is built; `unknown` outside a checkout."""
    try:
        return run(["git", "-C", ROOT, "rev-parse", "HEAD"], timeout=10.0).strip()
    except CommandError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
