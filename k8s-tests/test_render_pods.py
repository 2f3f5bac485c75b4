"""What is common to every pod of the chart: annotations of those that must end, users, images."""

from __future__ import annotations

from typing import Any

import pytest

from charts.render import DEMO, PRODUCTION, Document, Objects, RefusedError, Renderer, merged, nested

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


# Users

IDS = {"runAsUser", "runAsGroup", "fsGroup"}
EVERY_POD = [merged(DEMO, {**values, **AUTOSCALED}) for values in MIGRATED_BY.values()]
CHOSEN = 1_000_770_000
"""As OpenShift chooses users: known to no image, in the group of root."""


def users(pod: Document) -> dict[str, int]:
    """Every id that a pod or one of its containers is given."""
    contexts = [pod["spec"], *pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return {key: value for one in contexts for key, value in one["securityContext"].items() if key in IDS}


def modes(pod: Document) -> set[int]:
    """Modes of the files that a pod mounts, but for those that are nobody's secret."""
    kinds = (volume.get(kind) for volume in pod["spec"]["volumes"] for kind in ("secret", "projected"))
    return {found["defaultMode"] for found in kinds if found}


@pytest.mark.parametrize("values", EVERY_POD, ids=list(MIGRATED_BY))
def test_one_switch_leaves_all_ids_out(renderer: Renderer, values: dict[str, Any]) -> None:
    container = {"runAsUser": CHOSEN, "runAsGroup": 0}
    pods = renderer.objects(merged(values, {"fixedIds": False, "securityContext": container})).pods()
    assert len(pods) >= 7
    assert {name: users(pod) for name, pod in pods.items()} == {key: {} for key in pods}
    assert all(pod["spec"]["securityContext"]["runAsNonRoot"] for pod in pods.values())
    # Without the switch nobody is forgotten either.
    assert all(users(pod).keys() == IDS for pod in renderer.objects(values).pods().values())


def test_a_parent_chart_leaves_all_ids_out_by_the_same_switch(renderer: Renderer) -> None:
    (text,) = renderer.texts([merged(EVERY_POD[0], {"fixedIds": False})])
    assert not [line for line in text.splitlines() if line.partition(":")[0].strip() in IDS]
    (usual,) = renderer.texts([EVERY_POD[0]])
    assert [line for line in usual.splitlines() if line.partition(":")[0].strip() in IDS]


def test_an_id_that_is_taken_away_is_gone_from_every_pod(renderer: Renderer) -> None:
    pods = renderer.objects(merged(EVERY_POD[0], {"podSecurityContext": {"runAsUser": None}})).pods()
    assert {name: set(users(pod)) for name, pod in pods.items()} == {key: {"runAsGroup", "fsGroup"} for key in pods}


def test_an_id_that_is_chosen_is_every_pods(renderer: Renderer) -> None:
    ids = {"runAsUser": CHOSEN, "runAsGroup": 0, "fsGroup": CHOSEN}
    pods = renderer.objects(merged(EVERY_POD[0], {"podSecurityContext": ids})).pods()
    assert {name: users(pod) for name, pod in pods.items()} == dict.fromkeys(pods, ids)


def test_by_default_images_run_as_their_own_user(renderer: Renderer) -> None:
    for name, pod in renderer.objects(EVERY_POD[0]).pods().items():
        assert set(users(pod).values()) == {999 if name.startswith("StatefulSet") else 10001}


def test_an_image_that_wants_root_makes_neither_operator_nor_try_out_root(renderer: Renderer) -> None:
    root = {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    pods = renderer.objects(merged(DEMO, {"podSecurityContext": root})).pods()
    assert pods["Deployment/slipway"]["spec"]["securityContext"]["runAsNonRoot"] is False
    for name in ("Deployment/slipway-operator", "StatefulSet/slipway-postgresql", "StatefulSet/slipway-redis"):
        context = pods[name]["spec"]["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"] > 0) == (True, True)


@pytest.mark.parametrize(
    ("values", "mode"),
    [({}, 0o440), ({"fixedIds": False}, 0o444), ({"podSecurityContext": {"fsGroup": None}}, 0o444)],
    ids=["a group", "no ids", "no group"],
)
def test_mounted_files_can_be_read_by_whoever_the_pod_runs_as(
    renderer: Renderer, values: dict[str, Any], mode: int
) -> None:
    for every in EVERY_POD:
        pods = renderer.objects(merged(every, values)).pods()
        assert {name: modes(pod) for name, pod in pods.items()} == {key: {mode} for key in pods}


def test_slipway_listens_on_both_families_and_other_images_where_they_did(renderer: Renderer) -> None:
    for application, host in (("slipway", "::"), ("other", "0.0.0.0")):  # noqa: S104 - what a pod is told
        values = {"application": application, "migrations": {"mode": "off"}}
        (container,) = renderer.objects(merged(PRODUCTION, values)).one("Deployment", "slipway")["spec"]["template"][
            "spec"
        ]["containers"]
        told = {entry["name"]: entry["value"] for entry in container["env"]}
        assert (told["SLIPWAY_HOST"], told["SLIPWAY_OPS_HOST"]) == (host, host)


# Images

DIGEST = f"sha256:{'a' * 64}"
IMAGES = {
    ("image",): ("slipway", "0.1.0"),
    ("operator", "image"): ("slipway-operator", "0.1.0"),
    ("redis", "image"): ("docker.io/library/redis", "8"),
    ("postgresql", "image"): ("docker.io/library/postgres", "17"),
}
"""By value, what the demo runs of it."""


def images(objects: Objects) -> set[str]:
    return {
        container["image"]
        for pod in objects.pods().values()
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    }


def each_image(**fields: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in IMAGES:
        values = merged(values, nested(path, fields))
    return values


def test_an_image_is_named_by_tag_or_digest_or_both(renderer: Renderer) -> None:
    usual = {f"{name}:{tag}" for name, tag in IMAGES.values()}
    assert images(renderer.objects(DEMO)) == usual
    both = each_image(tag="1.10", digest=DIGEST)
    assert images(renderer.objects(merged(DEMO, both))) == {f"{name}:1.10@{DIGEST}" for name, _ in IMAGES.values()}
    by_digest = each_image(tag="", digest=DIGEST)
    assert images(renderer.objects(merged(DEMO, by_digest))) == {f"{name}@{DIGEST}" for name, _ in IMAGES.values()}


def test_what_skaffold_has_no_value_for_is_as_good_as_empty(renderer: Renderer) -> None:
    unknown = dict.fromkeys(("repository", "tag", "digest"), "<no value>")
    objects = renderer.objects(merged(DEMO, {**each_image(**unknown), "scriptImage": "<no value>"}))
    assert images(objects) == images(renderer.objects(DEMO))
    registry = each_image(registry="<no value>")
    assert "library/redis:8" in images(renderer.objects(merged(DEMO, registry)))
    mirrored = merged(DEMO, {"global": {"imageRegistry": "<no value>"}})
    assert images(renderer.objects(mirrored)) == images(renderer.objects(DEMO))
    assert "Slipway 0.1.0 is release" in renderer.notes(merged(DEMO, {"image": {"tag": "<no value>"}}))


def test_only_the_word_itself_goes_for_a_missing_digest(renderer: Renderer) -> None:
    with pytest.raises(RefusedError, match="at '/image/digest'"):
        renderer.text(merged(DEMO, {"image": {"digest": "<no value>x"}}))
