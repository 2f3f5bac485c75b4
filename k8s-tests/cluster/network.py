"""The network of the cluster: one namespace, joined to the host by a pair of virtual links.

The host gets one address on its own end of the pair, and with it the route to that /24: nothing else of it changes.
"""

from __future__ import annotations

import os
from pathlib import Path

from cluster.commands import CommandError, run
from cluster.settings import Settings

INSIDE_LINK = "eth0"


def create(settings: Settings) -> None:
    """Needs that neither namespace nor link exist."""
    name, prefix = settings.name, settings.network.partition("/")[2]
    inside = ("ip", "-n", name)
    run(["ip", "netns", "add", name])
    run(["ip", "link", "add", settings.link, "type", "veth", "peer", "name", INSIDE_LINK, "netns", name])
    run(["ip", "address", "add", f"{settings.host_address}/{prefix}", "dev", settings.link])
    run(["ip", "link", "set", settings.link, "up"])
    run([*inside, "address", "add", f"{settings.node_address}/{prefix}", "dev", INSIDE_LINK])
    run([*inside, "link", "set", INSIDE_LINK, "up"])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "route", "add", "default", "via", settings.host_address])
    # A namespace has its own value of this; /proc shows that of whoever opens the file.
    run([*settings.enter, "tee", "/proc/sys/net/ipv4/ip_forward"], input="1")


def remove(settings: Settings) -> None:
    """Both the link and the namespace, as far as they exist; processes in the namespace must have ended."""
    if Path("/sys/class/net", settings.link).exists():
        run(["ip", "link", "delete", settings.link])
    if settings.namespace.exists():
        run(["ip", "netns", "delete", settings.name])
    _remove_folder_of_namespaces(settings.namespace.parent)


def _remove_folder_of_namespaces(folder: Path) -> None:
    """`ip` mounts this folder for the first namespace and leaves it after the last."""
    if folder.is_dir() and not os.listdir(folder):  # noqa: PTH208 - emptiness is all that is asked
        try:
            run(["umount", folder])
            folder.rmdir()
        except (CommandError, OSError):
            return  # somebody else made a namespace just now
