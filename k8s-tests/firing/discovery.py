"""Which pods Prometheus scrapes, kept in a file that it reads: Debian's is built without discovery of its own.

It finds pods by the headless Services and gives them the labels that Prometheus' operator sets. They are reached
through the API server, as `kubectl proxy` lets everybody on this machine: so it works with any cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

EVERY = 0.5
"""Seconds between two looks."""
ANSWER_WITHIN = 5.0
STOP_WITHIN = 10.0
SERVICE = "kubernetes.io/service-name"


def targets(slices: list[dict[str, Any]], proxy: str) -> list[dict[str, Any]]:
    """EndpointSlices as Prometheus' files have them; pods that aren't ready too."""
    found = []
    for one in slices:
        service, namespace = one["metadata"]["labels"].get(SERVICE, ""), one["metadata"]["namespace"]
        if not service.endswith("-metrics"):
            continue
        for endpoint in one.get("endpoints") or []:
            pod, port = endpoint["targetRef"]["name"], one["ports"][0]["port"]
            labels = {
                "namespace": namespace,
                "service": service,
                "pod": pod,
                "instance": f"{endpoint['addresses'][0]}:{port}",
                "__metrics_path__": f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics",
            }
            found.append({"targets": [proxy], "labels": labels})
    return found


@contextmanager
def kept_up_to_date(file: Path, namespace: str, proxy: str) -> Iterator[None]:
    """The file follows what the cluster has, until the body ends."""
    ended = threading.Event()
    url = f"http://{proxy}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    def follow() -> None:
        written = ""
        with httpx.Client(timeout=ANSWER_WITHIN) as client:
            while not ended.wait(EVERY):
                try:
                    reply = client.get(url).raise_for_status()
                except httpx.HTTPError:
                    continue  # the proxy starts, or the API server is busy: the next look tells
                text = json.dumps(targets(reply.json()["items"], proxy))
                if text != written:
                    new = file.with_suffix(".new")
                    new.write_text(text, "utf-8")
                    new.replace(file)
                    written = text

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(STOP_WITHIN)
