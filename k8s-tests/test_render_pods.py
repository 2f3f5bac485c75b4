"""What is common to every pod of the chart: annotations of those that must end, users, images."""

from __future__ import annotations

from typing import Any

import pytest

from charts.render import DEMO, PRODUCTION, Document, Objects, Renderer, merged

NO_SIDECAR = {"sidecar.istio.io/inject": "false"}
AUTOSCALED = {"autoscaling": {"enabled": True}}
MIGRATED_BY: dict[str, dict[str, Any]] = {
    "operator": {"migrations": {"byHand": ["upgrade"]}},
    "job": {"migrations": {"mode": "job"}},
}
"""With them there is every pod that ends."""


def ending(objects: Objects) -> list[Document]:
    return [one for one in objects.all if one["kind"] in {"Job", "Pod"}]


@pytest.mark.parametrize("mode", list(MIGRATED_BY))
def test_pods_that_must_end_keep_a_meshs_sidecar_out(renderer: Renderer, mode: str) -> None:
    values = {"jobAnnotations": NO_SIDECAR, "podAnnotations": {"team": "ships", **dict.fromkeys(NO_SIDECAR, "true")}}
    objects = renderer.objects(merged(PRODUCTION, {**MIGRATED_BY[mode], **AUTOSCALED, **values}))
    assert len(ending(objects)) == 3
    for one in ending(objects):
        pod = one if one["kind"] == "Pod" else one["spec"]["template"]
        assert one["metadata"]["annotations"].items() >= NO_SIDECAR.items()
        assert pod["metadata"]["annotations"].items() >= NO_SIDECAR.items()
    served = objects.one("Deployment", "slipway")["spec"]["template"]["metadata"]["annotations"]
    assert served["sidecar.istio.io/inject"] == "true"


def test_hooks_stay_hooks_whatever_annotations_jobs_have(renderer: Renderer) -> None:
    values = {"jobAnnotations": {"helm.sh/hook": "post-delete"}}
    hooks = {
        one["metadata"]["annotations"]["helm.sh/hook"]
        for one in ending(renderer.objects(merged(DEMO, {**AUTOSCALED, **values})))
    }
    assert hooks == {"test", "pre-upgrade,pre-rollback"}


def test_the_operator_is_told_the_annotations_of_its_jobs(renderer: Renderer) -> None:
    (told,) = renderer.objects(merged(PRODUCTION, {"jobAnnotations": NO_SIDECAR})).of_kind("SchemaMigration")
    (silent,) = renderer.objects(PRODUCTION).of_kind("SchemaMigration")
    assert told["spec"]["jobAnnotations"] == NO_SIDECAR
    # Definitions of the release before don't know the field: an install without wishes must not need new ones.
    assert "jobAnnotations" not in silent["spec"]


def test_the_operators_pod_has_annotations_of_its_own(renderer: Renderer) -> None:
    objects = renderer.objects(merged(PRODUCTION, {"operator": {"podAnnotations": NO_SIDECAR}}))
    pods = {name: pod["metadata"].get("annotations", {}) for name, pod in objects.pods().items()}
    assert [name for name, found in pods.items() if found.items() >= NO_SIDECAR.items()] == [
        "Deployment/slipway-operator"
    ]
