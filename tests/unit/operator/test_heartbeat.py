from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from servers.waiting import until
from slipway_operator import heartbeat
from slipway_operator.cluster import Api
from slipway_operator.settings import Settings
from slipway_operator.watch import owner_of
from slipway_operator.worklist import Key
from unit.operator.conftest import ScriptedServer

SETTINGS = Settings(namespace="shop", identity="pod-1")


def test_the_lease_says_who_renewed_it_and_when() -> None:
    made = heartbeat.lease(SETTINGS, datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC))
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("slipway-operator", "shop")
    assert made["spec"] == {
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 180,
        "renewTime": "2026-05-04T03:02:01.123456Z",
    }


def test_only_its_own_renewal_counts_as_seen() -> None:
    own = heartbeat.lease(SETTINGS, datetime.now(UTC))
    assert heartbeat.is_own(own, SETTINGS)
    assert not heartbeat.is_own(own, Settings(namespace="shop", identity="pod-2"))
    assert not heartbeat.is_own(own, Settings(namespace="other", identity="pod-1"))
    assert not heartbeat.is_own({"metadata": {"namespace": "shop"}}, SETTINGS)


async def test_it_is_renewed_again_and_again_whatever_fails(
    api: Api, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    refused = (403, {"reason": "Forbidden", "message": "no rights"})
    server.answers = [(200, {}), refused, refused, (200, {}), refused, (200, {})]
    beating = asyncio.create_task(heartbeat.beat(api, SETTINGS, interval=0.001))
    await until(lambda: len(server.asked) > 8)
    beating.cancel()
    assert [record.getMessage() for record in caplog.records] == [
        "The Lease slipway-operator can't be renewed: no rights"
    ] * 2
    assert server.asked[0].path == "/apis/coordination.k8s.io/v1/namespaces/shop/leases/slipway-operator"


def job(**owner: object) -> dict[str, object]:
    base = {"apiVersion": "slipway.dev/v1alpha1", "kind": "SchemaMigration", "name": "orders", "controller": True}
    return {"metadata": {"namespace": "shop", "name": "j", "ownerReferences": [{**base, **owner}]}}


def test_a_job_wakes_the_resource_that_controls_it_and_no_other() -> None:
    assert owner_of(job()) == Key("SchemaMigration", "shop", "orders")
    assert owner_of(job(apiVersion="slipway.dev/v1")) == Key("SchemaMigration", "shop", "orders")
    for stranger in (
        job(kind="CronJob", apiVersion="batch/v1"),
        job(apiVersion="example.com/v1"),
        job(controller=False),
    ):
        assert owner_of(stranger) is None
    assert owner_of({"metadata": {"namespace": "shop", "name": "j"}}) is None
