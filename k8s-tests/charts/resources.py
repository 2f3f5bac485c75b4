"""Examples of the three kinds of slipway.dev, and what each of them refuses, for the tests of their definitions."""

from __future__ import annotations

import copy
from typing import Any

PODS = {"selector": {"matchLabels": {"app.kubernetes.io/name": "slipway"}}}
SPECS: dict[str, dict[str, Any]] = {
    "SchemaMigration": {
        "image": "registry.example/slipway:0.1.0",
        "workload": {"name": "slipway", "container": "api"},
        "consumers": PODS,
        "database": {"secretName": "slipway-database-owner"},
    },
    "KeyRing": {"secretName": "slipway-signing-keys", "consumers": PODS},
    "DatabaseLogin": {
        "admin": {"secretName": "slipway-database-admin"},
        "memberOf": "slipway_app",
        "roles": ["slipway_app_a", "slipway_app_b"],
        "secretName": "slipway-database",
        "consumers": PODS,
    },
}
COMPLETE: dict[str, dict[str, Any]] = {
    "SchemaMigration": {
        "command": ["slipway", "db"],
        "approval": "Destructive",
        "approve": "sha256:" + "0" * 64,
        "lint": {"failOn": "Warning", "ignore": ["prefer-text-field"]},
        "lockTimeout": "5s",
        "statementTimeout": "20m",
        "budget": "1h30m",
        "retries": 0,
        "backup": {"cronJobName": "slipway-backup"},
        "jobAnnotations": {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled", "plain": ""},
        "historyLimit": 3,
        "suspend": True,
    },
    "KeyRing": {
        "algorithm": "ES256",
        "rotateEvery": "168h",
        "tokenLifetime": "30m",
        "leeway": "0s",
        "validatorCache": "1h",
        "propagation": "90s",
        "evidence": "Time",
        "consumers": {
            "selector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            "port": 1,
            "path": "/",
            "scheme": "HTTP",
        },
        "rotateNonce": "2026-11-22",
        "revoke": ["k-1", "k-2"],
        "deletionPolicy": "Delete",
        "historyLimit": 0,
        "suspend": False,
    },
    "DatabaseLogin": {
        "consumers": {
            **PODS,
            "port": "ops",
            "path": "/keys",
            "scheme": "HTTPS",
            "serverName": "ships.example",
            "ca": {"configMapName": "ships-ca", "key": "root.pem"},
        },
        "connectionLimit": 40,
        "rotateEvery": "24h",
        "rotateNonce": "now",
        "suspend": True,
    },
}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # KeyRing
    (
        "KeyRing",
        {"rotateEvery": "30m"},
        "rotateEvery 30m is not longer than one rotation takes: propagation 2m + validatorCache 10m + propagation 2m"
        " + tokenLifetime 15m + leeway 1m",
    ),
    ("KeyRing", {"rotateEvery": "1h", "validatorCache": "40m"}, "validatorCache 40m"),
    ("KeyRing", {"tokenLifetime": "0s"}, "tokenLifetime must be at least 1s"),
    ("KeyRing", {"leeway": "11m"}, "leeway must be at most 10m"),
    ("KeyRing", {"rotateEvery": "30d"}, "spec.rotateEvery"),
    ("KeyRing", {"rotateEvery": ""}, "spec.rotateEvery"),
    ("KeyRing", {"algorithm": "HS256"}, 'supported values: "EdDSA", "ES256", "RS256"'),
    ("KeyRing", {"evidence": "Hope"}, 'supported values: "Endpoint", "Time"'),
    ("KeyRing", {"deletionPolicy": "Keep"}, 'supported values: "Delete", "Retain"'),
    ("KeyRing", {"revoke": ["k", "k"]}, "Duplicate value"),
    ("KeyRing", {"revoke": [f"k-{n}" for n in range(65)]}, "must have at most 64 items"),
    ("KeyRing", {"revoke": ["no id"]}, "spec.revoke[0]"),
    ("KeyRing", {"secretName": "Not_A_Name"}, "spec.secretName"),
    ("KeyRing", {"consumers": {"selector": {"matchLabels": None}}}, "an empty one selects every pod of the namespace"),
    ("KeyRing", {"consumers": {"port": 65536}}, "less than or equal to 65535"),
    ("KeyRing", {"consumers": {"port": 0}}, "greater than or equal to 1"),
    ("KeyRing", {"consumers": {"port": "Ops"}}, "spec.consumers.port"),
    ("KeyRing", {"consumers": {"port": "a-name-of-sixteen"}}, "spec.consumers.port"),
    ("KeyRing", {"consumers": {"scheme": "HTTPS"}}, "HTTPS needs ca and serverName: whom to believe, and as whom"),
    ("DatabaseLogin", {"consumers": {"scheme": "HTTPS", "serverName": "ships"}}, "HTTPS needs ca and serverName"),
    ("DatabaseLogin", {"consumers": {"ca": {"configMapName": "ca"}}}, "ca and serverName are for scheme HTTPS"),
    ("KeyRing", {"consumers": {"serverName": "ships"}}, "ca and serverName are for scheme HTTPS"),
    ("KeyRing", {"consumers": {"path": "keys"}}, "spec.consumers.path"),
    ("KeyRing", {"consumers": {"path": "/keys?all"}}, "spec.consumers.path"),
    (
        "KeyRing",
        {"consumers": {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}},
        "In and NotIn need values; Exists and DoesNotExist take none",
    ),
    (
        "KeyRing",
        {"consumers": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}}},
        "In and NotIn need values; Exists and DoesNotExist take none",
    ),
    ("KeyRing", {"rotateOften": True}, 'unknown field "spec.rotateOften"'),
    # DatabaseLogin
    (
        "DatabaseLogin",
        {"memberOf": "pg_write_all_data"},
        "memberOf pg_write_all_data has more rights than a service needs",
    ),
    ("DatabaseLogin", {"memberOf": "postgres"}, "memberOf postgres has more rights than a service needs"),
    (
        "DatabaseLogin",
        {"memberOf": "rds_superuser"},
        "memberOf rds_superuser has more rights than a service needs; name a role of its own, without superuser",
    ),
    ("DatabaseLogin", {"memberOf": "slipway_app_a"}, "memberOf must not be one of roles"),
    ("DatabaseLogin", {"memberOf": "Robert'); --"}, "spec.memberOf"),
    ("DatabaseLogin", {"roles": ["a", "a"]}, "roles must be two different names"),
    ("DatabaseLogin", {"roles": ["a"]}, "should have at least 2 items"),
    ("DatabaseLogin", {"roles": ["a", "b", "c"]}, "must have at most 2 items"),
    ("DatabaseLogin", {"roles": ["a", "pg_b"]}, "names that begin with pg_ belong to PostgreSQL itself"),
    ("DatabaseLogin", {"roles": ["a", "b" * 64]}, "spec.roles[1]"),
    ("DatabaseLogin", {"secretName": "slipway-database-admin"}, "secretName must differ from admin.secretName"),
    ("DatabaseLogin", {"rotateEvery": "4m"}, "rotateEvery must be at least 5m"),
    ("DatabaseLogin", {"connectionLimit": 0}, "greater than or equal to 1"),
    # SchemaMigration
    (
        "SchemaMigration",
        {"command": ["alembic"], "config": "/app/alembic.ini"},
        "set command or config, not both",
    ),
    (
        "SchemaMigration",
        {"statementTimeout": "2h"},
        "statementTimeout 2h is longer than budget 1h, which ends the whole run; make budget at least as long",
    ),
    (
        "SchemaMigration",
        {"lockTimeout": "10s", "statementTimeout": "10s"},
        "lockTimeout 10s must be shorter than statementTimeout 10s, or a wait for a lock ends as a failed"
        " statement instead of being tried again",
    ),
    ("SchemaMigration", {"lockTimeout": "0s"}, "lockTimeout must be between 1s and 10m"),
    ("SchemaMigration", {"lockTimeout": "11m"}, "lockTimeout must be between 1s and 10m"),
    ("SchemaMigration", {"approval": "Sometimes"}, 'supported values: "Never", "Destructive", "Always"'),
    ("SchemaMigration", {"approve": "yes"}, "spec.approve"),
    ("SchemaMigration", {"image": "two words"}, "spec.image"),
    ("SchemaMigration", {"command": []}, "should have at least 1 items"),
    ("SchemaMigration", {"lint": {"failOn": "Info"}}, 'supported values: "Never", "Error", "Warning"'),
    ("SchemaMigration", {"retries": 21}, "less than or equal to 20"),
    ("SchemaMigration", {"consumers": {"selector": {"matchLabels": {}}}}, "selector needs at least one label"),
    ("SchemaMigration", {"jobAnnotations": {"two words": "x"}}, "an annotation's name looks like example.com/name"),
    (
        "SchemaMigration",
        {"jobAnnotations": {"slipway.dev/a": "x"}},
        "annotations of slipway.dev are the operator's own",
    ),
    ("SchemaMigration", {"workload": {"container": None}}, "spec.workload.container: Required value"),
]
"""Kind, merge patch of its least spec, and what the refusal must say."""

IMMUTABLE: list[tuple[str, dict[str, Any], str]] = [
    ("KeyRing", {"secretName": "other"}, "secretName can't change: another Secret would hold other keys"),
    ("DatabaseLogin", {"secretName": "other"}, "secretName can't change: pods that mount the old Secret"),
    ("DatabaseLogin", {"roles": ["c", "d"]}, "roles can't change: sessions of the old pair"),
]
"""The same, for a resource that exists."""

CONDITION = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-22T12:00:00Z", "observedGeneration": 1}
STATUS: dict[str, dict[str, Any]] = {
    "SchemaMigration": {
        "observedGeneration": 1,
        "revision": "0001",
        "target": "0003",
        "pending": 2,
        "phase": "Announcing",
        "planKey": "0" * 64 + ".2",
        "done": ["expand", "plan"],
        "attempts": {"announce": 1},
        "lastJob": "example-announce-01234567",
        "announcedAt": "2026-11-22T12:00:00.123456Z",
        "failure": {"reason": "PlanChanged", "message": "0003.", "lasting": False, "at": "2026-11-22T12:00:00Z"},
        "contracted": {"image": "example:1", "revisions": ["0003"], "applied": False},
        "plan": {
            "digest": "sha256:" + "0" * 64,
            "current": "0001",
            "target": "0003",
            "partial": False,
            "foreign": [],
            "revisions": [
                {"id": "0002", "kind": "expand", "message": "", "sqlDigest": "0" * 64, "announced": False},
                {"id": "0003", "kind": "contract", "message": "drops a column", "announced": True},
            ],
            "findings": [{"rule": "ban-drop-column", "level": "Error", "revision": "0002", "message": ""}],
            "sql": {"name": "example-plan", "key": "plan.sql"},
        },
        "conditions": [{**CONDITION, "reason": "WaitingForLock", "message": "Session 4711 of ada holds it for 12 s."}],
    },
    "KeyRing": {
        "observedGeneration": 1,
        "signing": "k-2026-11",
        "signingSince": "2026-11-01T00:00:00Z",
        "nextRotation": "2026-12-01T00:00:00Z",
        "keys": [{"id": "k-2026-11", "state": "Signing"}, {"id": "k-2026-12", "state": "Published"}],
        "consumers": {"running": 3, "confirmed": 2, "lagging": [{"pod": "slipway-1", "reason": "Unreachable"}]},
        "conditions": [{**CONDITION, "reason": "ConsumersLagging", "message": "slipway-1 can't be reached."}],
    },
    "DatabaseLogin": {
        "observedGeneration": 1,
        "role": "slipway_app_b",
        "roleSince": "2026-11-01T00:00:00Z",
        "nextRotation": "2026-12-01T00:00:00Z",
        "sessions": {"old": 1, "oldest": [{"pid": 4711, "applicationName": "report"}]},
        "conditions": [{**CONDITION, "reason": "OldSessionsOpen", "message": "4711 (report) is 3 h old."}],
    },
}

KINDS = sorted(SPECS)


def changed(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch, but an empty map replaces."""
    result = copy.deepcopy(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and value and isinstance(result.get(key), dict):
            result[key] = changed(result[key], value)
        else:
            result[key] = value
    return result


def resource(kind: str, name: str = "example", **patch: Any) -> dict[str, Any]:
    spec = changed(SPECS[kind], patch)
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
