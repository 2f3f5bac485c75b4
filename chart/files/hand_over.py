# ruff: noqa: INP001 - a script of a pod, not of a package
"""Take hold of a Deployment's number of pods by server-side apply on its scale: arguments are namespace and name.

Ends with 0 when the number is held, be it by somebody else, and when there is no Deployment yet.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10
NOT_FOUND, CONFLICT = 404, 409


def call(url: str, body: dict[str, object] | None = None) -> dict[str, object]:
    """GET, or PATCH when there is a body. Raises HTTPError."""
    request = urllib.request.Request(url, method="PATCH" if body else "GET")  # noqa: S310 - the API server
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    if body:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/apply-patch+yaml")
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    # Chain and name are checked; but many a cluster's CA was made without the extensions that Python asks for now.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as reply:  # noqa: S310 - as above
        return json.load(reply)


def main(namespace: str, name: str) -> str:
    """What came of it, in a sentence."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    scale = f"https://{host}:{port}/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    try:
        replicas = call(scale)["spec"].get("replicas", 0)
        call(
            f"{scale}?fieldManager=slipway-hand-over",
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"replicas": replicas},
            },
        )
    except urllib.error.HTTPError as error:
        if error.code == NOT_FOUND:
            return "There is no Deployment yet: nothing to hand over."
        if error.code == CONFLICT:
            return "Somebody else decides on the number of pods already: nothing to hand over."
        raise
    return f"The Deployment keeps its {replicas} pods until the autoscaler decides otherwise."


if __name__ == "__main__":
    print(main(*sys.argv[1:]))  # noqa: T201 - the Job's log
