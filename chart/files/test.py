# ruff: noqa: INP001 - a script of a pod, not of a package
"""What `helm test` does: asks the API, signs in, makes an item, reads it back; looks at readiness and metrics.

API and API_PATH: where to ask. ADMIN: folder with an administrator's `email` and `password`. OPS: host:port that names
the pods. Ends with a traceback at the first thing that isn't as it should be.
"""

import http.client
import json
import os
import random
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

TIMEOUT = 10
TRIES = 5
OK, CREATED, NO_CONTENT = 200, 201, 204


def call(method: str, url: str, *, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError when nobody answers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, headers=named, method=method)  # noqa: S310 - from the chart
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310 - as above
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except http.client.HTTPException as error:  # it ended in the middle of its answer
        raise ConnectionError(f"{url}: {error!r}") from error


def pause(attempt: int) -> None:
    time.sleep(attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


def expect(wanted: int, method: str, url: str, *, body: bytes | None = None, **headers: str) -> bytes:
    """The body of a reply with that status, tried again while nobody answers; what is raised holds no secret."""
    for attempt in range(1, TRIES + 1):
        try:
            return judged(wanted, method, url, *call(method, url, body=body, **headers))
        except OSError:
            if attempt == TRIES:
                raise
            pause(attempt)
    raise AssertionError


def judged(wanted: int, method: str, url: str, status: int, content: bytes) -> bytes:
    if status != wanted:
        raise SystemExit(f"{method} {url} gave {status} instead of {wanted}: {content[:500]!r}")
    print(f"{method} {url} gave {status}")  # noqa: T201 - the pod's log
    return content


def check_items(api: str, folder: Path) -> None:
    """Sign in, make an item, read it back, and clean up."""
    email, password = ((folder / name).read_text().strip() for name in ("email", "password"))
    form = urllib.parse.urlencode({"username": email, "password": password}).encode()
    token = json.loads(expect(OK, "POST", f"{api}/api/v1/auth/token", body=form))["access_token"]
    bearer = f"Bearer {token}"
    content = {"title": "helm test", "body": f"made at {time.time():.0f}"}
    made = expect(
        CREATED,
        "POST",
        f"{api}/api/v1/items",
        body=json.dumps(content).encode(),
        Authorization=bearer,
        Content_Type="application/json",
    )
    item = f"{api}/api/v1/items/{json.loads(made)['id']}"
    found = json.loads(expect(OK, "GET", item, Authorization=bearer))
    if {name: found[name] for name in content} != content:
        raise SystemExit(f"The item reads {found} instead of {content}.")
    etag = urllib.request.Request(item, headers={"Authorization": bearer})  # noqa: S310 - as above
    with urllib.request.urlopen(etag, timeout=TIMEOUT) as reply:  # noqa: S310 - as above
        version = reply.headers["ETag"]
    expect(NO_CONTENT, "DELETE", item, Authorization=bearer, If_Match=version)


def check_ops(address: str) -> None:
    """Every pod that has an address: those that are leaving or starting may be unready, but one must be ready.

    One that ends meanwhile keeps its address a moment longer than its process, so who doesn't answer is looked up anew.
    """
    host, port = address.rsplit(":", 1)
    ready, answered, silent = 0, 0, addresses(host, port)
    for attempt in range(1, TRIES + 1):
        asked, silent = silent, set()
        for pod in sorted(asked):
            try:
                ready += is_ready(pod, port)
                answered += 1
            except OSError:
                silent.add(pod)
        if silent:
            pause(attempt)
            silent &= addresses(host, port)
    if silent:
        raise SystemExit(f"No answer from {', '.join(sorted(silent))} at port {port}.")
    if not ready:
        raise SystemExit(f"None of the {answered} pods is ready.")
    print(f"{ready} of {answered} pods ready")  # noqa: T201 - the pod's log


def addresses(host: str, port: str) -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}


def is_ready(pod: str, port: str) -> bool:
    """Of a pod whose metrics are as they should be. Raises OSError when it doesn't answer."""
    base = f"http://[{pod}]:{port}" if ":" in pod else f"http://{pod}:{port}"
    status, _ = call("GET", f"{base}/readyz")
    metrics = judged(OK, "GET", f"{base}/metrics", *call("GET", f"{base}/metrics")).decode()
    if "http_requests_total" not in metrics:
        raise SystemExit(f"The metrics of {pod} don't count requests.")
    return status == OK


expect(OK, "GET", os.environ["API"] + os.environ["API_PATH"])
if "ADMIN" in os.environ:
    check_items(os.environ["API"], Path(os.environ["ADMIN"]))
if "OPS" in os.environ:
    check_ops(os.environ["OPS"])
