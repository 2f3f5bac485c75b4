"""A Job doesn't wait for the workload's own login, which it doesn't use."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.jobs import migration_job
from slipway_operator.migrations.model import Memory
from slipway_operator.migrations.names import TEMPLATE
from slipway_operator.migrations.spec import parse
from unit.operator.migration_objects import deployment, resource

FOLDER = "/var/run/secrets/slipway/database"
SETTING = {"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": FOLDER}
LOGIN = {"name": "database", "projected": {"sources": [{"secret": {"name": "shop-login"}}]}}
CA = {"name": "database-ca", "secret": {"secretName": "shop-ca"}}
SCRATCH = {"name": "tmp", "emptyDir": {}}
MOUNTS: list[dict[str, Any]] = [
    {"name": "tmp", "mountPath": "/scratch"},
    {"name": "database", "mountPath": FOLDER, "readOnly": True},
    {"name": "database-ca", "mountPath": f"{FOLDER}-ca"},
]
OWNERS = ("slipway-database-owner", "/var/run/secrets/slipway/database-owner")


def made(env: list[dict[str, Any]], mounts: list[dict[str, Any]], **pod: Any) -> dict[str, Any]:
    wish = resource()
    workload = deployment({"env": env, "volumeMounts": mounts}, volumes=[SCRATCH, LOGIN, CA], **pod)
    return migration_job(wish, parse(wish), Memory(plan_key="k.1"), "expand", 0, workload)


def pod_of(env: list[dict[str, Any]], mounts: list[dict[str, Any]], **pod: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(env, mounts, **pod)["spec"]["template"]["spec"]
    return found


def mounted(pod: dict[str, Any]) -> list[tuple[str, str]]:
    return [(mount["name"], mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]]


def volumes(pod: dict[str, Any]) -> list[str]:
    return [volume["name"] for volume in pod["volumes"]]


def test_the_workloads_login_is_left_out_and_all_else_stays() -> None:
    ca = {"name": "SLIPWAY_DATABASE_CA_FILE", "value": f"{FOLDER}-ca/ca.crt"}
    pod = pod_of([SETTING, ca], MOUNTS)

    assert mounted(pod) == [("tmp", "/scratch"), ("database-ca", f"{FOLDER}-ca"), OWNERS]
    assert volumes(pod) == ["tmp", "database-ca", "slipway-database-owner"]


@pytest.mark.parametrize(("setting", "path"), [(f"{FOLDER}/", FOLDER), (FOLDER, f"{FOLDER}/"), (FOLDER, f"{FOLDER}//")])
def test_a_slash_at_the_end_makes_no_other_folder(setting: str, path: str) -> None:
    pod = pod_of([{**SETTING, "value": setting}], [{"name": "database", "mountPath": path}])
    assert (mounted(pod), volumes(pod)) == ([OWNERS], [OWNERS[0]])


def test_a_slash_at_the_end_does_not_mount_the_owners_folder_twice() -> None:
    assert mounted(pod_of([], [{"name": "database", "mountPath": f"{OWNERS[1]}/"}])) == [OWNERS]


def test_a_sidecar_keeps_the_login_that_it_mounts() -> None:
    mounts = [{"name": "database", "mountPath": FOLDER}]
    proxy = {"name": "proxy", "image": "p", "restartPolicy": "Always", "volumeMounts": mounts}
    pod = pod_of([SETTING], MOUNTS, initContainers=[proxy])

    assert "database" not in dict(mounted(pod))
    assert pod["initContainers"][0]["volumeMounts"] == mounts
    assert volumes(pod) == ["tmp", "database", "database-ca", "slipway-database-owner"]


def test_containers_that_do_not_go_along_keep_no_volume() -> None:
    mounts = [{"name": "database", "mountPath": FOLDER}]
    pod = pod_of([SETTING], MOUNTS, initContainers=[{"name": "wait", "image": "w", "volumeMounts": mounts}])
    assert "database" not in volumes(pod)


def test_the_same_volume_in_another_folder_stays() -> None:
    pod = pod_of([SETTING], [*MOUNTS, {"name": "database", "mountPath": "/login"}])

    assert ("database", "/login") in mounted(pod)
    assert ("database", FOLDER) not in mounted(pod)
    assert "database" in volumes(pod)


@pytest.mark.parametrize(
    "env",
    [
        [],
        [{"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": ""}],
        [{"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        [SETTING, {"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": "/elsewhere"}],
    ],
    ids=["unset", "empty", "from elsewhere", "another one later"],
)
def test_without_the_setting_nothing_is_left_out(env: list[dict[str, Any]]) -> None:
    pod = pod_of(env, MOUNTS)
    assert mounted(pod) == [*((mount["name"], mount["mountPath"]) for mount in MOUNTS), OWNERS]
    assert volumes(pod) == ["tmp", "database", "database-ca", "slipway-database-owner"]


@pytest.mark.parametrize("value", [FOLDER, f"{FOLDER}/", f"{FOLDER}/ca.crt", f"sslrootcert={FOLDER}/ca.crt"])
def test_a_folder_that_another_setting_needs_stays(value: str) -> None:
    assert ("database", FOLDER) in mounted(pod_of([SETTING, {"name": "OTHER", "value": value}], MOUNTS))


def test_the_login_of_an_address_that_the_job_does_not_use_is_no_other_setting() -> None:
    address = {"name": "SLIPWAY_DATABASE_URL", "value": f"postgresql://app:p@db/shop?sslrootcert={FOLDER}/ca.crt"}
    pod = pod_of([SETTING, address], MOUNTS)
    assert ("database", FOLDER) not in mounted(pod)
    assert address not in pod["containers"][0]["env"]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"value": "postgresql://db/shop?sslmode=require"}, True),
        ({"value": "postgresql://app@db/shop"}, False),
        ({"value": "postgresql:///shop?host=db&user=app"}, False),
        ({"value": "postgresql:///shop?password=p&host=db"}, False),
        ({"value": ""}, False),
        ({"valueFrom": {"secretKeyRef": {"name": "shop", "key": "uri"}}}, False),
    ],
)
def test_an_address_without_a_login_is_the_owners_too(more: dict[str, Any], *, kept: bool) -> None:
    variable = {"name": "SLIPWAY_DATABASE_URL", **more}
    assert (variable in pod_of([SETTING, variable], MOUNTS)["containers"][0]["env"]) is kept


def test_a_job_of_a_workload_without_the_login_has_the_same_name_and_template() -> None:
    bare = [mount for mount in MOUNTS if mount["name"] != "database"]
    one, two = made([SETTING], MOUNTS)["metadata"], made([SETTING], bare)["metadata"]

    assert one["name"] == two["name"] == made([], MOUNTS)["metadata"]["name"]
    assert one["annotations"][TEMPLATE] == two["annotations"][TEMPLATE]
    assert one["annotations"][TEMPLATE] != made([], MOUNTS)["metadata"]["annotations"][TEMPLATE]
