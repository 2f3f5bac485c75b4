"""Who the operator is to the API server, read anew from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable

import kopf

LIFETIME = 60.0
"""Seconds; the kubelet writes a new token long before the old one ends."""

Login = Callable[[], kopf.ConnectionInfo]


class NoCredentialsError(Exception):
    """Why there are none now, without anything that is in them."""


def login() -> kopf.ConnectionInfo:
    """The service account of the pod, else the kubeconfig of a developer. kopf.LoginError where there is neither."""
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise kopf.LoginError("There is neither a service account nor a kubeconfig to reach a cluster with.")
    return found


class Credentials:
    def __init__(self, login: Login) -> None:
        self._login = login
        self._held: kopf.ConnectionInfo | None = None
        self._read_at = 0.0

    def fresh(self) -> kopf.ConnectionInfo:
        """Raises NoCredentialsError."""
        if self._held is None or time.monotonic() - self._read_at > LIFETIME:
            try:
                self._held = self._login()
            except (kopf.LoginError, OSError, ValueError) as error:
                # Other errors than kopf's only by their kind: that of a malformed file may repeat what is in it.
                said = str(error) if isinstance(error, kopf.LoginError) else type(error).__name__
                raise NoCredentialsError(f"No credentials for the cluster: {said}") from None
            self._read_at = time.monotonic()
        return self._held

    def drop(self) -> None:
        """They were refused: read them anew."""
        self._held = None
