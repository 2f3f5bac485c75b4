"""The whole OpenAPI document against the running service, request by request and in sequences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from e2e.conftest import Serve, sign_in
from servers.slipway import SlipwayProcess

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def _schemathesis(slipway: SlipwayProcess, phases: str, examples: int, folder: Path) -> str:
    """Bounded in examples and time; its own limits on requests are the service's."""
    headers = sign_in(slipway)
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", f"{slipway.base}/openapi.json",
            "--header", f"Authorization: {headers['Authorization']}",
            "--checks", CHECKS, "--phases", phases, "--max-examples", str(examples),
            "--exclude-operation-id-regex", "^(sign_out|change_password|end_session)$",  # they would end the run's own
            "--request-timeout", "20", "--seed", "20261122", "--no-color", "--generation-database", "none",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-6000:]
    assert "Authentication failed" not in report, report[-6000:]
    return report


async def test_no_request_that_the_document_allows_or_forbids_meets_a_server_error_or_an_undocumented_status(
    serve: Serve, tmp_path: Path
) -> None:
    slipway = serve(login_account_attempts=1_000_000, login_address_attempts=1_000_000)
    _schemathesis(slipway, "examples,coverage,fuzzing", 15, tmp_path)
    assert httpx.get(f"{slipway.ops}/livez").status_code == 200


async def test_no_sequence_of_requests_meets_a_server_error(serve: Serve, tmp_path: Path) -> None:
    slipway = serve(login_account_attempts=1_000_000, login_address_attempts=1_000_000)
    _schemathesis(slipway, "stateful", 15, tmp_path)
