"""A real Kubernetes for trying Slipway and for its tests.

up            a cluster with Slipway's demo on it        start    only the cluster
down          end it, and leave nothing                  status   whether it is up
exec COMMAND  run something in the cluster's network     load ARCHIVE …   give it images
tool NAME     the path of a program, built if need be
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from cluster import binaries, demo, provider
from cluster.errors import ClusterError
from cluster.progress import Progress, to_stderr
from cluster.settings import Settings

INTERRUPTED = 130
"""What a shell makes of a program that Ctrl-C ended."""


def start(settings: Settings, _: list[str]) -> int:
    cluster = provider.start_to_stay(settings, os.environ, Progress())
    print(f"KUBECONFIG={cluster.kubeconfig}")
    return 0


def up(settings: Settings, _: list[str]) -> int:
    progress = Progress()
    cluster = provider.start_to_stay(settings, os.environ, progress)
    print(demo.install(cluster, progress))
    return 0


def down(settings: Settings, _: list[str]) -> int:
    progress = Progress()
    if provider.selected(settings, os.environ) == "given":
        demo.uninstall(provider.start(settings, os.environ, progress), progress)
    provider.stop(settings, os.environ, progress)
    return 0


def status(settings: Settings, _: list[str]) -> int:
    chosen = provider.selected(settings, os.environ)
    running = provider.is_up(settings, os.environ)
    print(f"{chosen}: {'up' if running else 'down'}")
    return 0 if running else 1


def execute(settings: Settings, arguments: list[str]) -> int:
    """Becomes the command, in the cluster's network, with its kubeconfig."""
    if not arguments or not provider.is_up(settings, os.environ):
        raise ClusterError("exec needs a command, and a cluster that is up")
    cluster = provider.start(settings, os.environ, Progress())
    command = [*cluster.enter, *arguments]
    os.execvpe(command[0], command, {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})  # noqa: S606 - as asked for


def load(settings: Settings, arguments: list[str]) -> int:
    cluster = provider.start(settings, os.environ, Progress())
    for archive in arguments:
        with Progress().step(f"{archive} loaded"):
            cluster.load_image(Path(archive).absolute())
    return 0


def tool(_: Settings, arguments: list[str]) -> int:
    for name in arguments:
        print(binaries.tool(name, Progress(to_stderr)))
    return 0


COMMANDS: dict[str, Callable[[Settings, list[str]], int]] = {
    "up": up,
    "start": start,
    "down": down,
    "status": status,
    "exec": execute,
    "load": load,
    "tool": tool,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    try:
        return COMMANDS[given.command](Settings.from_environment(os.environ), given.arguments)
    except (ClusterError, OSError) as error:  # OSError: a full disk, a folder that can't be written
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was begun is cleared away by the next up or down", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
