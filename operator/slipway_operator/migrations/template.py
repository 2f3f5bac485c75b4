"""The pod of a Job, copied from a Deployment's: same environment and node, nothing that only a server needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from posixpath import normpath
from re import search
from typing import Any

from slipway_operator.migrations.model import Spec, Trouble

OWNER_FOLDER = "/var/run/secrets/slipway/database-owner"
SCRIPT_FOLDER = "/var/run/slipway"
_OWNER_VOLUME = "slipway-database-owner"
_SCRIPT_VOLUME = "slipway-script"
_FOLDER_SETTING = "SLIPWAY_DATABASE_CREDENTIALS_DIR"
_URL_SETTING = "SLIPWAY_DATABASE_URL"

_POD_FIELDS = (
    "serviceAccountName",
    "automountServiceAccountToken",
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "hostAliases",
    "dnsPolicy",
    "dnsConfig",
    "runtimeClassName",
    "schedulerName",
    "enableServiceLinks",
)
_CONTAINER_FIELDS = ("imagePullPolicy", "envFrom", "workingDir", "resources")
_NOT_MOUNTABLE = {"persistentVolumeClaim": "a PersistentVolumeClaim", "ephemeral": "an ephemeral claim"}


class RefusedError(Exception):
    """No Job can be made from what there is."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


def pod_spec(
    deployment: Mapping[str, Any], spec: Spec, command: list[str], args: list[str], script: str | None
) -> dict[str, Any]:
    """A Job's pod that runs a command of the image. `script`: ConfigMap to mount. Raises RefusedError."""
    template = deployment["spec"]["template"]["spec"]
    origin = _named(template.get("containers") or (), spec.container)
    if origin is None:
        text = f"Deployment {spec.workload} has no container {spec.container}; correct spec.workload.container."
        raise RefusedError(Trouble("ContainerMissing", text))
    sidecars = [_sidecar(one) for one in template.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    left_out = {OWNER_FOLDER, *([SCRIPT_FOLDER] if script else ()), *_login_folder(origin)}
    mounts = [mount for mount in origin.get("volumeMounts") or () if normpath(mount["mountPath"]) not in left_out]
    volumes = _volumes(template, (mount["name"] for mount in [*mounts, *_mounts(sidecars)]))
    _refuse_devices(origin, *sidecars)
    pod = {name: template[name] for name in _POD_FIELDS if name in template}
    pod["restartPolicy"] = "Never"
    pod["securityContext"] = _pod_security(template)
    node = (template.get("affinity") or {}).get("nodeAffinity")
    if node:
        pod["affinity"] = {"nodeAffinity": node}
    if sidecars:
        pod["initContainers"] = sidecars
    pod["volumes"] = [*volumes, _owner_volume(spec, template), *_script_volume(script)]
    pod["containers"] = [
        {
            **{name: origin[name] for name in _CONTAINER_FIELDS if name in origin},
            "name": origin["name"],
            "image": spec.image,
            "command": command,
            "args": args,
            "env": _environment(origin),
            "volumeMounts": [
                *mounts,
                {"name": _OWNER_VOLUME, "mountPath": OWNER_FOLDER, "readOnly": True},
                *([{"name": _SCRIPT_VOLUME, "mountPath": SCRIPT_FOLDER, "readOnly": True}] if script else ()),
            ],
            "securityContext": _container_security(origin),
            # The reason of a failure is the last line of the log.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
    ]
    return pod


def _login_folder(origin: Mapping[str, Any]) -> tuple[str, ...]:
    """The folder of the workload's own login, unless another setting names something in it.

    A Job doesn't use that login, and mustn't wait for its Secret: what makes that Secret may wait for the Job to end.
    """
    env = origin.get("env") or ()
    # Of settings with the same name the last one counts.
    told = next((one.get("value") for one in reversed(env) if one["name"] == _FOLDER_SETTING), None)
    if not told:
        return ()
    folder = normpath(told)
    others = (one.get("value") or "" for one in env if not _replaced(one))
    return () if any(f"{folder}/" in f"{value}/" for value in others) else (folder,)


def _environment(origin: Mapping[str, Any]) -> list[dict[str, Any]]:
    kept = [one for one in origin.get("env") or () if not _replaced(one)]
    return [*kept, {"name": _FOLDER_SETTING, "value": OWNER_FOLDER}]


def _replaced(one: Mapping[str, Any]) -> bool:
    """Whether a variable names the workload's own login. A URL without one says where the owner's login goes, too."""
    if one["name"] == _URL_SETTING:
        return not one.get("value") or search(r"@|[?&](user|password)=", one["value"]) is not None
    return bool(one["name"] == _FOLDER_SETTING)


def _sidecar(origin: Mapping[str, Any]) -> dict[str, Any]:
    """As it is, but without ports of the node, which the workload's pod may hold."""
    ports = [{key: value for key, value in port.items() if key != "hostPort"} for port in origin.get("ports") or ()]
    sidecar = {**origin, "securityContext": _container_security(origin)}
    return {**sidecar, "ports": ports} if ports else sidecar


def _mounts(containers: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (mount for container in containers for mount in container.get("volumeMounts") or ())


def _volumes(template: Mapping[str, Any], names: Iterable[str]) -> list[Mapping[str, Any]]:
    wanted = set(names)
    volumes = [volume for volume in template.get("volumes") or () if volume["name"] in wanted]
    for volume in volumes:
        for field, what in _NOT_MOUNTABLE.items():
            if field in volume:
                _refuse_volume(volume["name"], what)
    return volumes


def _refuse_devices(*containers: Mapping[str, Any]) -> None:
    for container in containers:
        for device in container.get("volumeDevices") or ():
            _refuse_volume(device["name"], "a block device")


def _refuse_volume(name: str, what: str) -> None:
    text = (
        f"Volume {name} of the workload is {what}, which a Job can't share with pods that run. "
        "Name a workload without it in spec.workload, or mount it only in other containers."
    )
    raise RefusedError(Trouble("VolumeNotSupported", text, lasting=True))


def _owner_volume(spec: Spec, template: Mapping[str, Any]) -> dict[str, Any]:
    # A user who isn't root reads it through the pod's group; where there is none, as one of all.
    mode = 0o440 if "fsGroup" in (template.get("securityContext") or {}) else 0o444
    return {"name": _OWNER_VOLUME, "secret": {"secretName": spec.secret_name, "defaultMode": mode}}


def _script_volume(script: str | None) -> list[dict[str, Any]]:
    return [{"name": _SCRIPT_VOLUME, "configMap": {"name": script, "defaultMode": 0o444}}] if script else []


def _pod_security(template: Mapping[str, Any]) -> dict[str, Any]:
    """With what Pod Security's level `restricted` asks for, unless the workload says otherwise."""
    context = dict(template.get("securityContext") or {})
    context.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    if context.get("runAsUser"):
        # Without a user's number the image decides, and one that is root wouldn't start.
        context.setdefault("runAsNonRoot", True)
    return context


def _container_security(origin: Mapping[str, Any]) -> dict[str, Any]:
    context = dict(origin.get("securityContext") or {})
    if context.get("runAsUser"):
        context.setdefault("runAsNonRoot", True)
    added = (context.get("capabilities") or {}).get("add") or ()
    if not context.get("privileged") and not {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(added):
        context.setdefault("allowPrivilegeEscalation", False)
    if not context.get("privileged"):
        context.setdefault("capabilities", {"drop": ["ALL"]})
    return context


def _named(containers: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((container for container in containers if container["name"] == name), None)
