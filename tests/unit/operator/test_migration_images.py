"""Images under other names: what nodes report, and what admission webhooks write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipway_operator.migrations.decide import decide
from slipway_operator.migrations.images import Reference, is_rewritten, reference
from slipway_operator.migrations.model import GateSeen, PodSeen, WorkloadSeen
from slipway_operator.migrations.pods import digest_of, has_image
from slipway_operator.migrations.report import report
from slipway_operator.migrations.sight import pod
from slipway_operator.migrations.status import document
from unit.operator.migration_objects import IMAGE, NOW, consumer, plan_log, revision
from unit.operator.test_migration_decide import BOTH, COMPLETE, EXPANDED, NEW, look

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.mark.parametrize(
    "reported",
    [
        ONE,
        f"registry.example/shop@{ONE}",
        f"mirror.example:5000/hub/shop@{ONE}",
        f"docker-pullable://registry.example/shop@{ONE}",
        f"docker://{ONE}",
    ],
)
def test_a_node_may_report_an_image_by_any_repository(reported: str) -> None:
    seen = PodSeen("a", frozenset({reported}), GateSeen("passed"))

    assert digest_of(reported) == ONE
    assert has_image(seen, f"docker.io/library/shop@{ONE}")
    assert not has_image(seen, f"docker.io/library/shop@{TWO}")


@pytest.mark.parametrize("reported", ["shop:2", "registry.example/shop:2", f"{ONE}x", "", "sha256:beef"])
def test_what_has_no_digest_stands_for_itself_alone(reported: str) -> None:
    assert digest_of(reported) == reported
    assert not has_image(PodSeen("a", frozenset({reported}), GateSeen("passed")), f"other.example/{reported}")


def test_a_plan_has_one_digest_by_whatever_repository_its_node_reports_the_image() -> None:
    told = report(plan_log(revision("0002")))
    digests = {
        told.plan(image_id, (), None).digest
        for image_id in (f"registry.example/shop@{ONE}", f"mirror.example/shop@{ONE}", ONE)
    }

    assert len(digests) == 1
    assert told.plan(f"registry.example/shop@{TWO}", (), None).digest not in digests


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("shop", Reference("shop", "", "")),
        ("localhost:5000/a/shop:2", Reference("localhost:5000/a/shop", "2", "")),
        (f"a/shop:2@{ONE}", Reference("a/shop", "2", ONE)),
        (f"a/shop@{ONE}", Reference("a/shop", "", ONE)),
    ],
)
def test_a_name_has_its_parts(image: str, parts: Reference) -> None:
    assert reference(image) == parts


@pytest.mark.parametrize(
    ("wished", "found", "rewritten"),
    [
        ("shop:2", "mirror.example/hub/shop:2", True),
        ("registry.example/shop:2", f"registry.example/shop:2@{ONE}", True),
        ("registry.example/shop:2", f"registry.example/shop@{ONE}", True),
        (f"registry.example/shop@{ONE}", f"mirror.example/shop@{ONE}", True),
        ("shop", "mirror.example/shop:latest", True),
        ("shop:2", "shop:2", False),
        ("shop:2", "shop:1", False),
        ("shop:2", "mirror.example/shop:1", False),
        ("shop:2", "mirror.example/shopping:2", False),
        ("shop:2", f"shop@{TWO}", False),
        (f"shop@{ONE}", "mirror.example/shop:2", False),
    ],
)
def test_a_name_is_the_wished_one_elsewhere_or_with_its_digest(wished: str, found: str, *, rewritten: bool) -> None:
    assert is_rewritten(wished, found, f"somewhere/shop@{ONE}") is rewritten


MIRRORED = WorkloadSeen(2, "mirror.example/app:1", rolled_out=True)
OTHER = PodSeen(
    "new-1", frozenset({f"mirror.example/app@{TWO}"}), GateSeen("passed"), frozenset({"mirror.example/app:1"})
)


def test_a_deployment_that_a_webhook_rewrote_is_rolled_out_and_that_is_said() -> None:
    decision = decide(look(EXPANDED, workload=MIRRORED), NOW)

    assert decision.verdict.reason == "Announcing"
    (said,) = [one for one in document(decision, (), {}, 3, "", NOW)["conditions"] if one["type"] == "ImageRewritten"]
    assert "mirror.example/app:1 in the place of app:1" in said["message"]


def test_a_deployment_of_another_release_is_not_taken_for_rewritten() -> None:
    decision = decide(look(EXPANDED, workload=replace(MIRRORED, image="mirror.example/app:0")), NOW)

    assert decision.verdict.reason == "RollingOut"
    assert not decision.verdict.rewritten


def test_a_rewritten_image_that_is_not_the_planned_one_is_told_by_name_and_keeps_the_contract_waiting() -> None:
    memory = replace(EXPANDED, plan=BOTH, image_id=f"registry.example/app@{ONE}")
    planned = replace(NEW[0], image_ids=frozenset({ONE}))

    decision = decide(look(memory, workload=COMPLETE, pods=(planned, OTHER)), NOW)

    assert (decision.verdict.reason, decision.effect) == ("ImageRewritten", None)
    assert "pod new-1 has mirror.example/app:1 in the place of app:1" in decision.verdict.message
    assert ONE in decision.verdict.message


def test_a_look_at_a_pod_tells_the_names_that_it_asks_for() -> None:
    found = consumer("a")
    found["spec"]["containers"][0]["image"] = IMAGE
    seen = pod(found, NOW)

    assert seen is not None
    assert seen.images == {IMAGE}


def test_a_pod_of_two_releases_has_neither_image_for_certain() -> None:
    found = consumer("a")
    found["spec"]["containers"] = [
        {"name": "api", "image": "registry.example/shop:2"},
        {"name": "worker", "image": "registry.example/shop:1"},
        {"name": "log", "image": "registry.example/log:1"},
    ]
    ids = {"api": TWO, "worker": ONE, "log": "sha256:" + "3" * 64}
    found["status"]["containerStatuses"] = [
        {"name": name, "imageID": f"registry.example/x@{digest}"} for name, digest in ids.items()
    ]
    both = pod(found, NOW)
    found["status"]["containerStatuses"][1]["imageID"] = f"registry.example/x@{TWO}"
    new = pod(found, NOW)

    assert both is not None
    assert new is not None
    assert (has_image(both, TWO), has_image(both, ONE)) == (False, False)
    assert (has_image(new, TWO), has_image(new, ids["log"])) == (True, True)
