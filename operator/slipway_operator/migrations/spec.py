"""A SchemaMigration's spec, understood."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from slipway_operator.migrations.model import Spec

REPLAN = "slipway.dev/replan"
"""Annotation: another value asks for another plan, such as after a restore from a backup."""

_DURATION = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SpecError(ValueError):
    """The spec can't be followed; the message says what to write instead."""


def parse(resource: Mapping[str, Any]) -> Spec:
    """Read the spec of what the API server gave. Raises SpecError; the server's own checks leave little to refuse."""
    try:
        return _parse(resource)
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"The spec doesn't have the form of its definition (at {error}); apply the CRDs.") from error


def unfit(resource: Mapping[str, Any]) -> Spec:
    """Stands in for a spec that `parse` refuses."""
    return Spec("", "", "", "", "", plan_key(resource))


def plan_key(resource: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of what a plan depends on."""
    spec = resource.get("spec") or {}
    parts = {name: spec.get(name) for name in ("image", "workload", "database", "command", "config")}
    parts["replan"] = (resource["metadata"].get("annotations") or {}).get(REPLAN)
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _parse(resource: Mapping[str, Any]) -> Spec:
    spec = resource["spec"]
    command = spec.get("command")
    lint = spec.get("lint") or {}
    return Spec(
        image=spec["image"],
        workload=spec["workload"]["name"],
        container=spec["workload"]["container"],
        consumers=selector_text(spec["consumers"].get("selector") or {}),
        secret_name=spec["database"]["secretName"],
        plan_key=plan_key(resource),
        command=tuple(command) if command else None,
        config=spec.get("config"),
        approval=spec.get("approval", "Never"),
        approve=spec.get("approve"),
        fail_on=lint.get("failOn", "Error"),
        ignore=frozenset(lint.get("ignore") or ()),
        lock_timeout=seconds_of(spec.get("lockTimeout", "3s")),
        statement_timeout=seconds_of(spec.get("statementTimeout", "15m")),
        budget=seconds_of(spec.get("budget", "1h")),
        retries=spec.get("retries", 3),
        backup=(spec.get("backup") or {}).get("cronJobName"),
        history_limit=spec.get("historyLimit", 10),
        suspend=bool(spec.get("suspend")),
    )


def seconds_of(duration: str) -> float:
    """Seconds of a duration such as 1h30m. Raises SpecError."""
    found = _DURATION.fullmatch(duration)
    if not duration or found is None:
        raise SpecError(f"{duration[:32]!r} is no duration; write it like 90s, 15m or 1h30m.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def selector_text(selector: Mapping[str, Any]) -> str:
    """A label selector as a LIST takes it. Raises SpecError, also for an empty one, which selects everything."""
    labels = selector.get("matchLabels") or {}
    terms = [f"{_key(key)}={_value(labels[key])}" for key in sorted(labels)]
    terms += [_expression(expression) for expression in selector.get("matchExpressions") or ()]
    if not terms:
        raise SpecError("consumers.selector needs at least one label; an empty one selects every pod.")
    return ",".join(terms)


def _expression(expression: Mapping[str, Any]) -> str:
    key = _key(expression["key"])
    values = ",".join(_value(value) for value in expression.get("values") or ())
    match expression["operator"]:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case other:
            raise SpecError(f"consumers.selector has an operator {other!r}; In, NotIn, Exists, DoesNotExist exist.")


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise SpecError(f"consumers.selector has {key!r}, which is no key of a label.")
    return key


def _value(value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise SpecError(f"consumers.selector has {value!r}, which is no value of a label.")
    return value
