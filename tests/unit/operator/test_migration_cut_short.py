"""Runs of the image's own code that ended the process before the command was done, as if all were well."""

from __future__ import annotations

import pytest

from slipway_operator.migrations.observe import TAIL_LIMIT
from unit.operator.memory_api import MemoryApi
from unit.operator.migration_objects import deployment, marked, resource
from unit.operator.test_migration_observe import KEY, job, only_job, pod_of


@pytest.mark.parametrize("purpose", ["withdraw", "expand", "announce", "contract"])
async def test_a_run_that_ends_well_and_does_not_say_that_it_is_done_has_failed(
    purpose: str,
) -> None:
    cluster = MemoryApi()
    cluster.put("schemamigrations", resource({"planKey": KEY}))
    cluster.put("deployments", deployment())
    cluster.put("jobs", job("j", purpose, ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    cluster.logs["j-pod"] = marked({"type": "working", "message": "It begins."})

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble.reason if seen.trouble else "") == ("failed", "MigrationFailed")


async def test_a_log_that_was_read_in_part_says_nothing_of_its_end() -> None:
    cluster = MemoryApi()
    cluster.put("schemamigrations", resource({"planKey": KEY}))
    cluster.put("deployments", deployment())
    cluster.put("jobs", job("j", "contract", ended="Complete"))
    cluster.put("pods", pod_of("j", "Succeeded", terminated={"exitCode": 0}))
    echoed = "(1)," * TAIL_LIMIT
    cluster.logs["j-pod"] = "\n".join([marked({"type": "working", "message": "It begins."}), echoed])

    seen = await only_job(cluster)

    assert (seen.state, seen.trouble) == ("succeeded", None)
