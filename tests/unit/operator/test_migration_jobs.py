from __future__ import annotations

from typing import Any

import pytest

from slipway_operator.migrations.jobs import arguments, backup_job, command, migration_job
from slipway_operator.migrations.model import Memory, Plan, Revision, Spec
from slipway_operator.migrations.names import job_name, owner_label, plan_config_map
from slipway_operator.migrations.spec import parse
from slipway_operator.migrations.template import RefusedError
from unit.operator.migration_objects import IMAGE, UID, deployment, resource

MEMORY = Memory(plan_key="k.1")


def made(workload: dict[str, Any], /, **spec: Any) -> dict[str, Any]:
    wish = resource(**spec)
    return migration_job(wish, parse(wish), MEMORY, "expand", 0, workload)


def pod_of(workload: dict[str, Any], /, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(workload, **spec)["spec"]["template"]["spec"]
    return found


def container_of(workload: dict[str, Any], /, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod_of(workload, **spec)["containers"][0]
    return found


def test_a_job_is_marked_as_ours_and_not_as_the_workloads() -> None:
    job = made(deployment())

    assert job["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "slipway-operator",
        "app.kubernetes.io/component": "migrate",
        "slipway.dev/schemamigration": "shop",
        "slipway.dev/purpose": "expand",
    }
    assert job["spec"]["template"]["metadata"]["labels"] == job["metadata"]["labels"]
    assert job["metadata"]["annotations"].items() >= {"slipway.dev/plan-key": "k.1", "slipway.dev/attempt": "0"}.items()
    assert job["metadata"]["ownerReferences"][0]["uid"] == UID
    assert (job["spec"]["backoffLimit"], job["spec"]["podReplacementPolicy"]) == (0, "Failed")
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_jobs_and_their_pods_carry_the_wished_annotations_beside_the_operators_own() -> None:
    mesh = {"sidecar.istio.io/inject": "false"}

    job = made(deployment(), jobAnnotations={**mesh, "slipway.dev/attempt": "7"})

    assert job["metadata"]["annotations"].items() >= {**mesh, "slipway.dev/attempt": "0"}.items()
    assert job["spec"]["template"]["metadata"]["annotations"].items() >= mesh.items()
    assert "annotations" not in made(deployment())["spec"]["template"]["metadata"]


def test_other_annotations_are_another_pod() -> None:
    def hashed(**spec: Any) -> str:
        found: str = made(deployment(), **spec)["metadata"]["annotations"]["slipway.dev/template"]
        return found

    assert len({hashed(), hashed(jobAnnotations={"a": "b"}), hashed(jobAnnotations={"a": "c"})}) == 3
    assert hashed() == hashed(jobAnnotations={})


def test_it_runs_the_wished_image_as_the_workloads_container() -> None:
    origin: dict[str, Any] = {
        "image": "registry.example/shop:1",
        "command": ["serve"],
        "args": ["--fast"],
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "SLIPWAY_DATABASE_URL", "value": "postgresql://app@db/shop"},
            {"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": "/var/run/secrets/slipway/database"},
            {"name": "SLIPWAY_DATABASE_GRANT_TO", "value": "app"},
        ],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "resources": {"limits": {"memory": "1Gi"}},
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }

    container = container_of(deployment(origin))

    assert container["image"] == IMAGE
    assert container["command"] == ["slipway", "db"]
    assert container["args"][:3] == ["upgrade", "--phase=expand", "--marked"]
    assert container["env"] == [
        origin["env"][0],
        origin["env"][3],
        {"name": "SLIPWAY_DATABASE_CREDENTIALS_DIR", "value": "/var/run/secrets/slipway/database-owner"},
    ]
    assert (container["envFrom"], container["resources"]) == (origin["envFrom"], origin["resources"])
    assert not {"ports", "readinessProbe", "lifecycle"} & container.keys()
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_owners_secret_is_mounted_and_only_volumes_that_are_used_go_along() -> None:
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "d"}}]
    pod = pod_of(deployment({"volumeMounts": [{"name": "tmp", "mountPath": "/scratch"}]}, volumes=volumes))

    assert pod["volumes"] == [
        {"name": "tmp", "emptyDir": {}},
        {"name": "slipway-database-owner", "secret": {"secretName": "shop-owner", "defaultMode": 0o444}},
    ]
    assert pod["containers"][0]["volumeMounts"][-1] == {
        "name": "slipway-database-owner",
        "mountPath": "/var/run/secrets/slipway/database-owner",
        "readOnly": True,
    }


def test_a_group_of_the_pod_reads_the_owners_secret_alone() -> None:
    pod = pod_of(deployment(securityContext={"fsGroup": 10001}))

    assert pod["volumes"][0]["secret"]["defaultMode"] == 0o440


@pytest.mark.parametrize("kind", ["persistentVolumeClaim", "ephemeral"])
@pytest.mark.parametrize("by", ["container", "sidecar"])
def test_a_claimed_volume_is_refused_for_good(kind: str, by: str) -> None:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    sidecar = {"name": "proxy", "image": "p", "restartPolicy": "Always", **(mounts if by == "sidecar" else {})}
    workload = deployment(
        mounts if by == "container" else {}, volumes=[{"name": "data", kind: {}}], initContainers=[sidecar]
    )

    with pytest.raises(RefusedError) as raised:
        made(workload)
    assert (raised.value.trouble.reason, raised.value.trouble.lasting) == ("VolumeNotSupported", True)


def test_native_sidecars_go_along_and_other_init_containers_do_not() -> None:
    proxy = {"name": "proxy", "image": "p", "restartPolicy": "Always", "ports": [{"containerPort": 1, "hostPort": 1}]}
    pod = pod_of(deployment(initContainers=[{"name": "wait", "image": "w"}, proxy]))

    assert [one["name"] for one in pod["initContainers"]] == ["proxy"]
    assert pod["initContainers"][0]["ports"] == [{"containerPort": 1}]
    assert pod["initContainers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_choice_of_nodes_is_copied_but_not_of_neighbours() -> None:
    node: dict[str, Any] = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    fields: dict[str, Any] = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"operator": "Exists"}],
        "serviceAccountName": "shop",
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "pull"}],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "dnsConfig": {"options": []},
    }

    pod = pod_of(
        deployment(
            **fields,
            affinity={"nodeAffinity": node, "podAntiAffinity": {}},
            terminationGracePeriodSeconds=90,
            hostNetwork=True,
            topologySpreadConstraints=[{}],
        )
    )

    assert {name: pod[name] for name in fields} == fields
    assert pod["affinity"] == {"nodeAffinity": node}
    assert pod["restartPolicy"] == "Never"
    assert not {"hostNetwork", "topologySpreadConstraints", "terminationGracePeriodSeconds"} & pod.keys()


@pytest.mark.parametrize(
    ("pod_context", "context", "expected_pod", "expected"),
    [
        (
            {},
            {},
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        ),
        (
            {"runAsUser": 1000},
            {"runAsUser": 1001},
            {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            {
                "runAsUser": 1001,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        ),
        (
            {"runAsUser": 0, "seccompProfile": {"type": "Unconfined"}},
            {"capabilities": {"add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": True},
            {"runAsUser": 0, "seccompProfile": {"type": "Unconfined"}},
            {"capabilities": {"add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": True},
        ),
        ({}, {"privileged": True}, {"seccompProfile": {"type": "RuntimeDefault"}}, {"privileged": True}),
        (
            {},
            {"capabilities": {"add": ["SYS_ADMIN"]}},
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {"capabilities": {"add": ["SYS_ADMIN"]}},
        ),
    ],
)
def test_what_pod_security_asks_for_is_added_where_the_workload_says_nothing(
    pod_context: dict[str, Any], context: dict[str, Any], expected_pod: dict[str, Any], expected: dict[str, Any]
) -> None:
    pod = pod_of(deployment({"securityContext": context}, securityContext=pod_context))

    assert pod["securityContext"] == expected_pod
    assert pod["containers"][0]["securityContext"] == expected


def test_a_container_that_is_not_there_is_said() -> None:
    with pytest.raises(RefusedError, match="no container web"):
        made(deployment(), workload={"name": "shop", "container": "web"})


def test_plain_alembic_runs_by_the_mounted_script() -> None:
    pod = pod_of(deployment(), config="/app/alembic.ini")
    container = pod["containers"][0]

    assert container["command"] == ["python", "/var/run/slipway/plain_alembic.py", "--config=/app/alembic.ini"]
    assert container["volumeMounts"][-1]["mountPath"] == "/var/run/slipway"
    assert pod["volumes"][-1]["configMap"]["name"] == "shop-script"


def test_a_script_that_the_workload_mounts_itself_is_mounted_once() -> None:
    mounts = [{"name": "script", "mountPath": "/var/run/slipway"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    container = container_of(deployment({"volumeMounts": mounts}), config="/app/alembic.ini")

    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert paths == ["/tmp", "/var/run/secrets/slipway/database-owner", "/var/run/slipway"]  # noqa: S108
    assert "/var/run/slipway" in str(container_of(deployment({"volumeMounts": mounts}))["volumeMounts"])


def spec(**fields: Any) -> Spec:
    return parse(resource(**fields))


PLAN = Plan("sha256:0", "0001", "0003", (Revision("0002", "expand", "", "a" * 64), Revision("0003", "contract")))
EXPECTED = f"--expect=0002:{'a' * 64}"


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("plan", ["plan", "--marked", "--patience=60"]),
        ("withdraw", ["withdraw", "--marked", "--patience=60"]),
        ("announce", ["announce", "--marked", "--patience=60"]),
    ],
)
def test_short_commands_take_no_limits(purpose: Any, expected: list[str]) -> None:
    assert arguments(spec(approval="Always"), purpose, PLAN) == expected


@pytest.mark.parametrize(("purpose", "phase"), [("expand", "expand"), ("contract", "all")])
def test_runs_take_their_limits_in_seconds_and_what_was_approved(purpose: Any, phase: str) -> None:
    limits = ["--patience=60", "--lock-timeout=5", "--statement-timeout=1200", "--budget=360000"]
    wish: dict[str, Any] = {"lockTimeout": "5s", "statementTimeout": "20m", "budget": "100h"}

    common = ["upgrade", f"--phase={phase}", "--marked", *limits]
    assert arguments(spec(**wish, approval="Destructive"), purpose, PLAN) == [*common, EXPECTED]


def test_a_contract_is_the_planned_one_though_nobody_was_asked_as_a_tag_may_have_moved() -> None:
    assert EXPECTED in arguments(spec(), "contract", PLAN)
    assert EXPECTED not in arguments(spec(), "expand", PLAN)


def test_jobs_of_a_plan_that_was_given_up_do_not_pile_up() -> None:
    kept = [
        migration_job(resource(), spec(retries=3), Memory(plan_key="k.1"), "plan", attempt, deployment())
        for attempt in (3, 4)
    ]
    assert [job["spec"]["ttlSecondsAfterFinished"] for job in kept] == [86_400, 1800]


def test_the_command_is_the_images_own_unless_another_is_wished() -> None:
    assert command(spec()) == ["slipway", "db"]
    assert command(spec(command=["python", "-m", "shop.db"])) == ["python", "-m", "shop.db"]


CRON_JOB = {
    "spec": {
        "jobTemplate": {
            "spec": {
                "backoffLimit": 2,
                "suspend": True,
                "template": {
                    "metadata": {"labels": {"app": "backup", "app.kubernetes.io/component": "backup"}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "dump", "image": "d"}]},
                },
            }
        }
    }
}


def test_a_backup_is_made_from_its_cron_job_and_keeps_its_pods_labels() -> None:
    wish = resource(backup={"cronJobName": "dump"})

    job = backup_job(wish, parse(wish), MEMORY, 1, CRON_JOB)

    assert job["metadata"]["labels"]["slipway.dev/purpose"] == "backup"
    assert job["metadata"]["annotations"]["slipway.dev/attempt"] == "1"
    assert job["spec"]["backoffLimit"] == 2
    assert "suspend" not in job["spec"]
    assert job["spec"]["template"]["metadata"]["labels"] == {
        "app": "backup",
        "app.kubernetes.io/component": "backup",
        "slipway.dev/schemamigration": "shop",
        "slipway.dev/purpose": "backup",
    }


def test_a_backup_without_its_cron_job_is_refused_until_there_is_one() -> None:
    with pytest.raises(RefusedError, match="CronJob dump isn't there"):
        backup_job(resource(), spec(backup={"cronJobName": "dump"}), MEMORY, 0, None)


def test_names_are_the_same_for_the_same_try_and_others_for_any_other() -> None:
    names = {
        job_name("shop", UID, "k.1", "plan", 0),
        job_name("shop", UID, "k.1", "plan", 1),
        job_name("shop", UID, "k.2", "plan", 0),
        job_name("shop", "another", "k.1", "plan", 0),
        job_name("shop", UID, "k.1", "expand", 0),
    }

    assert len(names) == 5
    assert job_name("shop", UID, "k.1", "plan", 0) in names


@pytest.mark.parametrize("name", ["a", "a" * 63, "a" * 253, "a." * 120 + "b", "a" * 45 + "-.b" * 20])
def test_names_and_labels_of_long_resources_fit(name: str) -> None:
    job = job_name(name, UID, "k.1", "withdraw", 19)

    assert len(job) <= 63
    assert "." not in job
    assert "--" not in job.removeprefix("a" * 45)
    assert len(owner_label(name)) <= 63
    assert owner_label(name)[-1].isalnum()
    assert len(plan_config_map(name)) <= 253


def test_long_names_with_the_same_beginning_stay_apart() -> None:
    assert owner_label("a" * 70 + "b") != owner_label("a" * 70 + "c")
