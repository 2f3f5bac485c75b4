"""What goes wrong with a cluster, as sentences for the person who asked for it."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster can't be had or used; the message says why, and shows the last lines of what failed."""


class ClusterUnavailableError(ClusterError):
    """None of the three ways to a cluster is open on this machine."""
