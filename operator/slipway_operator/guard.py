"""What every change of the cluster or a database is held to: that this operator still looks after the namespace."""

from __future__ import annotations

from math import inf


class Guard:
    """Lets every change pass. What holds Leases says otherwise: no change goes past it."""

    def left(self, namespace: str) -> float:
        """Seconds that a change in this namespace may take that begins now. cluster.NotServedError: none may begin."""
        del namespace
        return inf

    def term(self, namespace: str) -> int:
        """A number that only grows with those who look after a namespace, one after the other."""
        del namespace
        return 0

    def outnumber(self, namespace: str, term: int) -> None:
        """Have `term` be greater than this one soon."""
