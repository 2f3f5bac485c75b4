"""Dashboards as Grafana's sidecar finds them, and as their targets are found."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from charts.render import CHART, DEMO, Objects, RefusedError, Renderer, merged

ON = {"metrics": {"rulesConfigMap": {"enabled": True}, "dashboards": {"enabled": True}}}
MIB = 2**20


def shipped(objects: Objects, label: str = "grafana_dashboard") -> list[dict[str, Any]]:
    return [one for one in objects.of_kind("ConfigMap") if one["metadata"]["labels"].get(label) == "1"]


def test_dashboards_are_shipped_as_they_were_written_and_fit_into_a_config_map(renderer: Renderer) -> None:
    found = shipped(renderer.objects(merged(DEMO, ON)))
    assert len(found) == 2
    for one in found:
        ((name, text),) = one["data"].items()
        assert json.loads(text) == json.loads((CHART / "dashboards" / name).read_text(encoding="utf-8"))
        assert len(json.dumps(one)) < MIB
        assert one["metadata"]["annotations"] == {"grafana_folder": "Slipway"}


def test_label_and_folder_are_chosen_by_values(renderer: Renderer) -> None:
    chosen = {"metrics": {"dashboards": {"label": "dashboards", "folder": "Ships", "folderAnnotation": "k8s-folder"}}}
    found = shipped(renderer.objects(merged(merged(DEMO, ON), chosen)), "dashboards")
    assert [one["metadata"]["annotations"] for one in found] == [{"k8s-folder": "Ships"}] * 2


def test_there_are_none_unless_asked_for(renderer: Renderer) -> None:
    assert not shipped(renderer.objects(DEMO))


def test_dashboards_without_the_rules_that_they_find_their_targets_by_are_refused(renderer: Renderer) -> None:
    with pytest.raises(RefusedError, match=r"metrics\.dashboards\.enabled without rules shows nothing"):
        renderer.objects(merged(DEMO, {"metrics": {"dashboards": {"enabled": True}}}))


@pytest.mark.parametrize(
    ("release", "values"),
    [("slipway", {}), ("yard", {}), ("yard", {"nameOverride": "boats"}), ("yard", {"fullnameOverride": "harbour"})],
)
def test_the_recorded_names_are_those_of_the_services_that_are_scraped(
    renderer: Renderer, release: str, values: dict[str, Any]
) -> None:
    objects = renderer.objects(merged(merged(DEMO, ON), values), release=release)
    (rules,) = (one["data"]["rules.yaml"] for one in objects.of_kind("ConfigMap") if "rules.yaml" in one["data"])
    (info,) = (
        rule
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        if rule.get("record") == "slipway:release:info"
    )
    assert info["labels"]["release"] == release
    services = {service["metadata"]["name"] for service in objects.of_kind("Service")}
    assert {info["labels"][each] for each in ("api", "worker", "operator")} <= services
