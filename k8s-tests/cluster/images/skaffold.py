"""skaffold's custom builder without a docker daemon: the environment says what to build, buildah builds and pushes it.

Read: IMAGE (the full name with tag), PUSH_IMAGE (`true` or `false`), BUILD_CONTEXT (folder to build in),
PLATFORMS (none or one, such as `linux/arm64`). Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.errors import ClusterError
from cluster.images import base, buildah, pip_settings
from cluster.images.store import one_at_a_time


class BuildRequestError(ClusterError):
    """skaffold asks for something that can't be built; the sentence says what and why."""


@dataclass(frozen=True)
class BuildRequest:
    image: str
    push: bool
    context: Path
    platform: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What skaffold asks for. Raises BuildRequestError."""
        image, context = environment.get("IMAGE", ""), environment.get("BUILD_CONTEXT", "")
        if not image or not context:
            raise BuildRequestError("This is skaffold's build command: it needs IMAGE and BUILD_CONTEXT.")
        platforms = [platform for platform in environment.get("PLATFORMS", "").split(",") if platform]
        if len(platforms) > 1:
            raise BuildRequestError(f"One platform a build, not {', '.join(platforms)}: call skaffold with --platform.")
        return cls(image, environment.get("PUSH_IMAGE") == "true", Path(context), platforms[0] if platforms else None)


def build(request: BuildRequest, dockerfile: str, target: str) -> None:
    """Build, and push if asked to. Raises CommandError with the last lines of what failed, or NoBaseImageError."""
    with one_at_a_time(), tempfile.TemporaryDirectory() as folder:
        base.ensure_in_buildah(base.PYTHON)
        buildah.build(
            request.context,
            request.image,
            dockerfile=dockerfile,
            target=target,
            platform=request.platform,
            secrets=pip_settings.secrets(Path(folder)),
        )
    if request.push:
        buildah.push(request.image)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="Dockerfile", help="Dockerfile, below the folder to build in")
    parser.add_argument("--target", default="service", help="target of the Dockerfile")
    chosen = parser.parse_args()
    try:
        request = BuildRequest.from_environment(os.environ)
        build(request, chosen.file, chosen.target)
    except (ClusterError, OSError) as error:  # OSError: a full disk, a folder that can't be written
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{request.image}: built{' and pushed' if request.push else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
