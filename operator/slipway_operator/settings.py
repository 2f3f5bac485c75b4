"""The operator's settings, from the variables SLIPWAY_OPERATOR_*."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "SLIPWAY_OPERATOR_"
LEASE, CLUSTER_LEASE = "slipway-operator", "slipway-operator-cluster"
"""Names of a namespace's Lease, and of the one that stands for a whole cluster."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HIGHEST_PORT = 65535


class SettingsError(Exception):
    """A sentence on a variable that can't be followed."""


@dataclass(frozen=True)
class Settings:
    """`namespaces` is empty where the whole cluster is served. `namespace` and `identity` are the operator's own."""

    namespaces: tuple[str, ...] = ()
    namespace: str = "default"
    identity: str = "slipway-operator"
    ops_host: str = "127.0.0.1"
    ops_port: int = 9090
    log_level: str = "INFO"

    @property
    def home_namespace(self) -> str:
        """Where its first Lease is: its own namespace, if it looks after that one, else the first that it does."""
        served = not self.namespaces or self.namespace in self.namespaces
        return self.namespace if served else self.namespaces[0]

    @property
    def home_lease(self) -> str:
        """One for a whole cluster stands for no namespace, not even for the one that it is in."""
        return LEASE if self.namespaces else CLUSTER_LEASE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Settings:
        """SettingsError says which variable is wrong, and what to write instead."""

        def read(name: str, default: str) -> str:
            return environment.get(PREFIX + name, "").strip() or default

        return cls(
            namespaces=_namespaces(read("NAMESPACES", "")),
            namespace=_namespace("NAMESPACE", read("NAMESPACE", _of_service_account(service_account))),
            identity=read("IDENTITY", environment.get("HOSTNAME") or socket.gethostname()),
            ops_host=read("OPS_HOST", cls.ops_host),
            ops_port=_port(read("OPS_PORT", str(cls.ops_port))),
            log_level=_level(read("LOG_LEVEL", cls.log_level)),
        )


def _of_service_account(folder: Path) -> str:
    try:
        return (folder / "namespace").read_text().strip()
    except OSError:
        return Settings.namespace


def _namespaces(text: str) -> tuple[str, ...]:
    names = dict.fromkeys(word for part in text.split(",") if (word := part.strip()))
    return tuple(_namespace("NAMESPACES", name) for name in names)


def _namespace(variable: str, name: str) -> str:
    if _NAMESPACE.fullmatch(name) is None:
        raise SettingsError(f"{PREFIX}{variable} holds {name!r}, which is no namespace's name.")
    return name


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= _HIGHEST_PORT:
        raise SettingsError(f"{PREFIX}OPS_PORT is {text!r}; set a port between 1 and {_HIGHEST_PORT}.")
    return int(text)


def _level(text: str) -> str:
    level = text.upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise SettingsError(f"{PREFIX}LOG_LEVEL is {text!r}; set DEBUG, INFO, WARNING or ERROR.")
    return logging.getLevelName(logging.getLevelNamesMapping()[level])
