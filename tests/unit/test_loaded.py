"""What a process of the API loads, which is what most of its memory is."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded(*imports: str) -> set[str]:
    program = f"import sys, {', '.join(imports)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def api() -> set[str]:
    return loaded("slipway.cli", "slipway.server", "slipway.domains")


@pytest.mark.parametrize("package", ["aiosmtplib", "alembic", "requests", "pydantic.v1.main", "slipway.mail.mailer"])
def test_the_api_doesnt_load_what_it_never_uses(api: set[str], package: str) -> None:
    assert package not in api


def test_the_worker_has_them_where_they_are_used() -> None:
    """Negative control."""
    assert {"aiosmtplib", "slipway.mail.mailer"} <= loaded("slipway.worker")


def test_who_exports_spans_loads_no_tables_of_encodings() -> None:
    made = "from slipway.telemetry.exporting import batch_processor; batch_processor('http://127.0.0.1:1')"
    program = f"import sys; {made}; print(*(name for name, module in sys.modules.items() if module))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    packages = {name.split(".")[0] for name in done.stdout.split()}
    assert "opentelemetry" in packages
    assert "charset_normalizer" not in packages
    assert done.stderr == ""
