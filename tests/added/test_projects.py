"""What `projects` of docs/adding-a-domain.md do besides what all do. Run on a copy of the service that has them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from click.testing import CliRunner

from e2e import conftest
from e2e.conftest import Serve
from e2e.test_api_contract import schemathesis
from integration.conftest import Person
from integration.domains.kept import DOCUMENT, KEPT
from integration.sql import run_sql
from servers.databases import TestDatabase
from servers.jobs import done, rows, working
from slipway.auth.permissions import defaults, scopes
from slipway.cli import root
from slipway.jobs.kinds import Job
from slipway.resources import Resources
from slipway.worker import job_kinds

AT = "/api/v1/projects"
serve = conftest.serve
PROJECT = {"title": "A new hull", "goal": "She floats by spring.", "ends_at": "2026-01-01T00:00:00+01:00"}


async def make(user: Person, **headers: str) -> httpx.Response:
    reply = await user.client.post(AT, json=PROJECT, headers=headers)
    assert reply.status_code == 201, reply.text
    return reply


def test_projects_are_among_what_owners_keep() -> None:
    assert [kept.parameter for kept in KEPT if kept.at == AT] == ["project_id"]


def test_what_one_may_do_with_projects_is_in_the_document_and_new_users_may() -> None:
    for scheme in DOCUMENT["components"]["securitySchemes"].values():
        offered = scheme["flows"]["password"]["scopes"]
        assert offered["projects:read"] == "Read one's own projects."
        assert offered["projects:write"] == "Create and change one's own projects."
    assert {"projects:read", "projects:write"} <= set(scopes()) & set(defaults())


async def test_projects_need_their_own_permissions(sign_in: Any) -> None:
    other = await sign_in("items:read", "items:write", "projects:read")
    assert (await other.client.get(AT)).status_code == 200
    reply = await other.client.post(AT, json=PROJECT)
    assert (reply.status_code, reply.json()["message"]) == (403, "This needs the permission projects:write.")


async def test_the_job_of_a_project_is_listed_and_then_it_runs(
    user: Person, resources: Resources, database: TestDatabase
) -> None:
    made = await make(user)
    assert (made.json()["summary"], made.json()["ends_at"]) == (None, "2025-12-31T23:00:00Z")
    environment = {"SLIPWAY_DATABASE_URL": database.url_app}
    listed = await asyncio.to_thread(CliRunner().invoke, root, ["jobs", "list"], env=environment)
    assert re.search(r"\d+ +sum_up_project +waiting +0", listed.output), listed.output
    kinds = {name: kind for name, kind in job_kinds(resources.settings, resources.database).items() if not kind.every}
    async with working(resources.settings, resources.database, kinds):
        await done(resources.database)
    read = await user.client.get(made.headers["Location"])
    assert (read.json()["summary"], read.headers["ETag"]) == ("She floats", '"2"')


async def test_what_operators_set_of_projects_counts_is_listed_and_is_refused_at_start_by_name(
    user: Person, resources: Resources
) -> None:
    made = await make(user)
    shorter = resources.settings.with_changes(project_summary_length=3)
    kinds = {name: kind for name, kind in job_kinds(shorter, resources.database).items() if not kind.every}
    async with working(shorter, resources.database, kinds):
        await done(resources.database)
    assert (await user.client.get(made.headers["Location"])).json()["summary"] == "She"
    listed = CliRunner().invoke(root, ["settings"]).output
    meaning = "Characters of a goal that sum up a project. At least 1, at most 200."
    assert f"| `SLIPWAY_PROJECT_SUMMARY_LENGTH` | `10` | {meaning} |" in listed
    wrong = {"SLIPWAY_PROJECT_SUMMARY_LENGTH": "0", "SLIPWAY_PORT": "-1"}
    for process in ("serve", "worker"):
        refused = await asyncio.to_thread(CliRunner().invoke, root, [process], env=wrong)
        assert refused.exit_code == 1
        assert "  - SLIPWAY_PROJECT_SUMMARY_LENGTH: Input should be greater than or equal to 1\n" in refused.output
        assert "  - SLIPWAY_PORT: " in refused.output


async def test_a_repeated_project_has_one_job(user: Person, resources: Resources) -> None:
    key = str(uuid4())
    for _ in range(2):
        await make(user, **{"Idempotency-Key": key})
    assert len(await rows(resources.database)) == 1


async def test_projects_that_ended_long_ago_are_purged(user: Person, resources: Resources) -> None:
    ended, other = [(await make(user)).headers["Location"] for _ in range(2)]
    await run_sql(resources, "UPDATE projects SET ends_at = now() WHERE id = :id", id=other.rpartition("/")[2])
    purge = job_kinds(resources.settings, resources.database)["purge_expired"]
    await purge.run(Job(1, "purge_expired", {}, {}, 1, uuid4(), datetime.now(UTC)))
    assert [(await user.client.get(path)).status_code for path in (ended, other)] == [404, 200]


async def test_a_time_that_can_not_be_stored_is_the_clients_mistake(user: Person) -> None:
    for when in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"):
        assert (await user.client.post(AT, json=PROJECT | {"ends_at": when})).status_code == 422


def test_no_request_about_projects_meets_a_server_error_or_an_undocumented_status(serve: Serve, tmp_path: Path) -> None:
    slipway = serve(openapi="true")
    operations = tuple(
        operation["operationId"]
        for path, each in DOCUMENT["paths"].items()
        for operation in each.values()
        if path.startswith(AT)
    )
    report = schemathesis(slipway, "examples,fuzzing", 15, tmp_path, include=operations)
    tested = re.search(r"Tested: (\d+)", report)
    assert tested is not None, report[-6000:]
    assert int(tested[1]) == len(operations) == 6
