"""The whole OpenAPI document against the running service, request by request and in sequences."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx

from e2e.conftest import Serve, sign_in
from servers.slipway import SlipwayProcess

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
ENDING = ("sign_out", "change_password", "end_session", "end_sessions")
"""Operations that would end the run's own session."""


TELLING = ("read_me", "list_users", "list_sessions")
"""Operations whose replies hold the id of the run's own user: sequences would go on to delete it."""

CHANGING = ("delete_user", "patch_user", "replace_user", "set_permissions")
"""Operations that, given that id by another's reply, would end the run's own login: they get a run of their own."""

PATIENT = {"login_account_attempts": 1_000_000, "login_address_attempts": 1_000_000}

NEED_A_SECRET = {"POST /api/v1/auth/token", "POST /api/v1/auth/refresh"}
"""Operations that can't succeed with data made up."""


def schemathesis(slipway: SlipwayProcess, phases: str, examples: int, folder: Path, **which: tuple[str, ...]) -> str:
    """Bounded in examples and time. `include` or `exclude` names operations."""
    headers = sign_in(slipway)
    ((word, names),) = which.items()
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", f"{slipway.base}/openapi.json",
            "--header", f"Authorization: {headers['Authorization']}",
            "--checks", CHECKS, "--phases", phases, "--max-examples", str(examples),
            f"--{word}-operation-id-regex", f"^({'|'.join(names)})$",
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
    refused = report.partition("Authentication failed")[2].partition("💡")[0].partition("403 Forbidden")[0]
    assert set(re.findall(r"- ([A-Z]+ /\S+)", refused)) <= NEED_A_SECRET, report[-6000:]
    assert "Unmatched filters" not in report, report[-6000:]
    me = httpx.get(f"{slipway.base}/api/v1/users/me", headers=headers, timeout=10)
    assert me.status_code == 200, slipway.output[-4000:]
    return report


def _operations(slipway: SlipwayProcess) -> int:
    document = httpx.get(f"{slipway.base}/openapi.json").json()
    return sum(len(operations) for operations in document["paths"].values())


def _number(report: str, pattern: str) -> int:
    found = re.search(pattern, report)
    assert found is not None, report[-6000:]
    return int(found[1])


async def test_no_request_that_the_document_allows_or_forbids_meets_a_server_error_or_an_undocumented_status(
    serve: Serve, tmp_path: Path
) -> None:
    slipway = serve(openapi="true", **PATIENT)
    report = schemathesis(slipway, "examples,coverage,fuzzing", 15, tmp_path, exclude=(*ENDING, *CHANGING))
    assert _number(report, r"Tested: (\d+)") == _operations(slipway) - len(ENDING) - len(CHANGING)
    report = schemathesis(slipway, "examples,coverage,fuzzing", 15, tmp_path, include=CHANGING)
    assert _number(report, r"Tested: (\d+)") == len(CHANGING)
    assert httpx.get(f"{slipway.ops}/livez").status_code == 200


async def test_no_sequence_of_requests_meets_a_server_error(serve: Serve, tmp_path: Path) -> None:
    slipway = serve(openapi="true", **PATIENT)
    report = schemathesis(slipway, "stateful", 30, tmp_path, exclude=(*ENDING, *TELLING))
    assert _number(report, r"Tested: (\d+)") >= 12, report[-6000:]
