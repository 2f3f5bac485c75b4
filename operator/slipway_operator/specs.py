"""What the specs of all resources are made of: durations and label selectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DURATION = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SpecError(ValueError):
    """The spec can't be followed; the message says what to write instead."""


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


_TERM = re.compile(
    r"(?P<not>!)?(?P<key>[^\s=!,()]+)(?:=(?P<value>[^,]*)| (?P<op>in|notin) \((?P<values>[^)]*)\))?(?:,|$)"
)


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether a selector, as `selector_text` writes it, selects these labels. It says what the API server would."""
    return all(_holds(term, labels) for term in _TERM.finditer(selector))


def _holds(term: re.Match[str], labels: Mapping[str, str]) -> bool:
    found = labels.get(term["key"])
    if term["op"]:
        listed = found in term["values"].split(",") if found is not None else False
        return listed == (term["op"] == "in")
    if term["value"] is not None:
        return found == term["value"]
    return (found is None) == bool(term["not"])
