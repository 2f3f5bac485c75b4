"""The Secrets themselves, and every shape in which what they hold could turn up elsewhere."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from cluster.commands import CommandError
from cluster.model import Cluster
from load.looking import seen

RING, LOGIN = "slipway-keyring", "slipway-login"
PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
SHORTEST = 12
"""Characters of a shape that is looked for: a shorter one would be found by chance."""


def read(cluster: Cluster, namespace: str, name: str) -> dict[str, Any] | None:
    """The whole Secret; None when there is none."""
    told = cluster.kubectl.run("get", "secret", name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
    return json.loads(told) if told.strip() else None


def data(secret: dict[str, Any] | None) -> dict[str, bytes]:
    found = (secret or {}).get("data") or {}
    return {name: base64.b64decode(content) for name, content in found.items()}


def write(cluster: Cluster, namespace: str, name: str, changed: dict[str, bytes | None]) -> None:
    """As a person does by hand: these entries, None for none. Never by a command line, which others can read."""
    encoded = {key: None if value is None else base64.b64encode(value).decode() for key, value in changed.items()}
    words = ("patch", "secret", name, f"--namespace={namespace}", "--type=merge", "--patch-file=/dev/stdin")
    cluster.kubectl.run(*words, input=json.dumps({"data": encoded}))


def becomes(
    cluster: Cluster, namespace: str, name: str, wanted: dict[str, bytes], within: float, *, other: str = ""
) -> None:
    """Returns once the Secret holds exactly that; `other`: under another uid than this."""

    def look() -> bool:
        found = read(cluster, namespace, name)
        return found is not None and data(found) == wanted and found["metadata"]["uid"] != other

    # What it holds instead is nothing to print.
    seen(look, within, f"{name} as it was")


@dataclass
class Seeker:
    """Everything secret that was ever in these Secrets, and whether a text holds any of it."""

    _shapes: dict[str, str] = field(default_factory=dict, repr=False)
    """Shape → what it is, in words that tell nothing."""

    def note(self, secret: dict[str, Any] | None) -> None:
        """Look for this Secret's key material and password too, from now on."""
        held = data(secret)
        if "jwks.json" in held:
            self._note_keys(held["jwks.json"])
        for name in ("password", "uri"):
            if name in held:
                self._note_text(held[name], f"a {name}")

    def found_in(self, text: str) -> set[str]:
        """What of it is there, in words."""
        return {what for shape, what in self._shapes.items() if shape in text}

    def __len__(self) -> int:
        return len(self._shapes)

    def _note_keys(self, document: bytes) -> None:
        try:
            keys = json.loads(document)["keys"]
        except (ValueError, KeyError, TypeError):
            return  # written by hand, and nobody's key
        for key in keys:
            for member in PRIVATE_MEMBERS:
                if isinstance(key.get(member), str):
                    what = f"{member} of key {key.get('kid')}"
                    self._note_text(key[member].encode(), what)
                    self._note_bytes(base64.urlsafe_b64decode(key[member] + "=="), what)

    def _note_text(self, text: bytes, what: str) -> None:
        self._shapes[text.decode()] = what
        self._note_bytes(text, what)

    def _note_bytes(self, content: bytes, what: str) -> None:
        """In hex, and in base64 wherever in a longer text it may stand."""
        for shape in (content.hex(), content.hex().upper(), *encoded_anywhere(content)):
            if len(shape) >= SHORTEST:
                self._shapes[shape] = f"{what}, encoded"


def encoded_anywhere(content: bytes) -> list[str]:
    """The part of its base64 that is the same whatever stands before and after it, for each of three places."""
    shapes = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + content).decode()
        # Characters that hold bits of a neighbour, and padding, are left out.
        first = -(-before * 8 // 6)
        last = (before + len(content)) * 8 // 6
        shapes.append(encoded[first:last])
    return [*shapes, *(shape.replace("+", "-").replace("/", "_") for shape in shapes)]


def everything(cluster: Cluster, namespace: str) -> dict[str, str]:
    """All that the namespace holds and its programs print, but for the two Secrets themselves: place → text."""
    kubectl, scope = cluster.kubectl, f"--namespace={namespace}"
    told = objects(cluster, namespace, kubectl.run("api-resources", "--namespaced", "--verbs=list", "--output=name"))
    described = "pods,deployments,statefulsets,configmaps,secrets,keyrings,databaselogins,schemamigrations,events"
    told["kubectl describe"] = kubectl.run("describe", described, scope)
    for pod in kubectl.json("get", "pods", scope)["items"]:
        name = pod["metadata"]["name"]
        told[f"log of {name}"] = kubectl.run("logs", name, scope, "--all-containers", "--prefix")
        if any(status["restartCount"] for status in pod["status"].get("containerStatuses", [])):
            told[f"former log of {name}"] = kubectl.run("logs", name, scope, "--previous", "--ignore-errors")
    return told


def objects(cluster: Cluster, namespace: str, kinds: str) -> dict[str, str]:
    """All objects of these kinds, but for what the two Secrets hold: `kind/name` → JSON."""
    told: dict[str, str] = {}
    for kind in kinds.split():
        if kind.endswith(".metrics.k8s.io"):  # it holds no objects, and its server may be away
            continue
        try:
            listed = cluster.kubectl.json("get", kind, f"--namespace={namespace}", "--show-managed-fields")
        except CommandError as error:
            if "MethodNotAllowed" in error.stderr or "NotFound" in error.stderr:
                continue
            raise
        for each in listed.get("items", []):
            name = each["metadata"]["name"]
            if kind == "secrets" and name in {RING, LOGIN}:
                each.pop("data", None)
            told[f"{kind}/{name}"] = json.dumps(each, ensure_ascii=False) + _unpacked(each)
    return told


def _unpacked(shown: dict[str, Any]) -> str:
    """What Helm keeps of a release, read: it is packed twice."""
    if shown.get("type") != "helm.sh/release.v1":
        return ""
    return gzip.decompress(base64.b64decode(base64.b64decode(shown["data"]["release"]))).decode()
