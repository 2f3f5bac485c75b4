"""The script of `helm test` where pods come and go; on a cluster it runs in k8s-tests/test_install.py."""

from __future__ import annotations

import runpy
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "chart/files/test.py"
SERVES, ENDED = "127.0.0.1", "127.0.0.2"


class Pod(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"http_requests_total 1\n")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a pod that serves at SERVES only: at ENDED connections are refused."""
    server = ThreadingHTTPServer((SERVES, 0), Pod)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def names(port: int, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the name of the pods means at each look, in turn; the last stays."""
    looks: list[list[str]] = []
    resolve = socket.getaddrinfo

    def looked_up(host: str, *words: Any, **options: Any) -> Any:
        if host != "pods.example":
            return resolve(host, *words, **options)
        found = looks.pop(0) if len(looks) > 1 else looks[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.delenv("ADMIN", raising=False)
    monkeypatch.setenv("API", f"http://{SERVES}:{port}")
    monkeypatch.setenv("API_PATH", "/")
    monkeypatch.setenv("OPS", f"pods.example:{port}")
    return looks


def test_a_pod_that_ends_while_it_is_asked_counts_no_more_once_its_address_is_gone(
    names: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    names += [[SERVES, ENDED], [SERVES, ENDED], [SERVES]]
    runpy.run_path(str(SCRIPT))
    assert "1 of 1 pods ready" in capsys.readouterr().out


def test_a_pod_that_keeps_its_address_and_never_answers_fails_the_test(names: list[list[str]]) -> None:
    names += [[SERVES, ENDED]]
    with pytest.raises(SystemExit, match=f"No answer from {ENDED} at port"):
        runpy.run_path(str(SCRIPT))


def test_without_any_pod_that_is_ready_the_test_fails(names: list[list[str]]) -> None:
    names += [[ENDED], []]
    with pytest.raises(SystemExit, match="None of the 0 pods is ready"):
        runpy.run_path(str(SCRIPT))
