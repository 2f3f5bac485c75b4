"""What root may do here: containers often take away the rights to make networks and mounts."""

from __future__ import annotations

from pathlib import Path

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""Name → its bit in the kernel's set."""

STATUS = Path("/proc/self/status")


def lacking(status: str) -> list[str]:
    """The needed capabilities that a process with this /proc/…/status doesn't have; all where it doesn't say."""
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    held = int(fields.get("CapEff", "0"), base=16)
    return [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]


def privileged() -> bool:
    """Whether this process has all of them."""
    return STATUS.exists() and not lacking(STATUS.read_text())
