"""The chart's schema and value tables come from the comments in its values file; no cluster is needed."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from charts import reference
from charts.render import merged

VALUES = """\
# A chart for the tests of its reference.

## Image

image:
  # Where images come from;
  # the container runtime's default when empty.
  registry: ""
  # Name of the image.
  # @schema {minLength: 1}
  repository: slipway
  # When it is pulled.
  # @schema {enum: [Always, IfNotPresent, Never]}
  pullPolicy: IfNotPresent

## Workload
# Pods of the API.
# @schema {minimum: 0}
replicas: 2
# Share of requests | traced.
ratio: 0.1
# Labels of every pod.
# @schema {additionalProperties: {type: string}}
podLabels: {}
# CPU and memory.
# @schema {additionalProperties: true}
resources:
  requests: {cpu: 250m}
# Name of a Secret.
# @schema {type: [string, "null"]}
existingSecret: null
# What starts it.
command: [slipway, serve]
# What all charts of a release share.
global:
  # Goes before `image.registry`.
  imageRegistry: ""
"""


def made_from(text: str) -> dict[str, Any]:
    return reference.schema(reference.read_entries(text))


def faults(values: dict[str, Any], text: str = VALUES) -> list[str]:
    """What the schema says of these values on top of the file's, which is how Helm looks at them."""
    whole = merged(yaml.safe_load(text), values)
    return [fault.message for fault in jsonschema.Draft202012Validator(made_from(text)).iter_errors(whole)]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "values.yaml").write_text(VALUES)
    (tmp_path / "README.md").write_text(f"# A chart\n\n{reference.BEGIN}\n{reference.END}\n\nThe end.\n")
    return tmp_path


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": {"pullPolicy": "Never"}, "replicas": 0},
        {"podLabels": {"team": "blue"}, "existingSecret": "login"},
        {"resources": {"limits": {"memory": "1Gi"}}},
        {"global": {"imageRegistry": "r.example", "ofAnotherChart": {"any": "thing"}}, "enabled": True},
    ],
)
def test_values_that_the_comments_allow_pass(values: dict[str, Any]) -> None:
    assert faults(values) == []


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 3},
        {"image": {"name": "slipway"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"repository": ""}},
        {"replicas": "3"},
        {"replicas": -1},
        {"podLabels": {"team": 7}},
        {"command": "slipway serve"},
        {"command": [1]},
        {"global": {"imageRegistry": 1}},
        {"enabled": "yes"},
    ],
)
def test_values_that_the_comments_do_not_allow_fail(values: dict[str, Any]) -> None:
    assert faults(values)


def test_the_schema_carries_descriptions_and_defaults() -> None:
    registry = made_from(VALUES)["properties"]["image"]["properties"]["registry"]

    assert registry["description"] == "Where images come from; the container runtime's default when empty."
    assert registry["default"] == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replicas: 2\n", "replicas: no comment above it says what it means."),
        ("image:\n\n  # Away from its key.\n\n  tag: ''\n", "image.tag: no comment above it says what it means."),
        ("## Only a heading\nreplicas: 2\n", "replicas: no comment"),
        ("# A name.\nname: null\n", "name: null tells no type"),
        ("# Some.\nextra: []\n", "extra: an empty list tells nothing"),
        ("# Some.\nlabels: {}\n", "labels: an empty map tells nothing"),
        ("# Pods.\n# @schema {minimum: 3}\nreplicas: 2\n", "replicas: the default breaks the schema"),
        ("# Pods.\n# @schema {minimum\nreplicas: 2\n", "replicas: its @schema is no YAML"),
        ("# Pods.\n# @schema minimum\nreplicas: 2\n", "replicas: its @schema must be a mapping"),
        ("- 1\n", "values.yaml must hold a mapping."),
    ],
)
def test_a_key_that_says_too_little_is_named(text: str, sentence: str) -> None:
    with pytest.raises(reference.UndocumentedError) as raised:
        made_from(text)

    assert sentence in str(raised.value)


def test_the_tables_have_a_row_for_each_value_under_its_heading(chart: Path) -> None:
    assert reference.main(["--chart", str(chart)]) == 0

    lines = (chart / "README.md").read_text().splitlines()
    assert lines[0] == "# A chart"
    assert lines[-1] == "The end."
    assert "### Image" in lines
    assert (
        "| `image.pullPolicy` | `IfNotPresent` | When it is pulled. One of `Always`, `IfNotPresent`, `Never`. |"
        in lines
    )
    assert "| `ratio` | `0.1` | Share of requests \\| traced. |" in lines
    assert '| `command` | `["slipway", "serve"]` | What starts it. |' in lines
    assert "| `existingSecret` | none | Name of a Secret. |" in lines
    assert '| `resources` | `{"requests": {"cpu": "250m"}}` | CPU and memory. |' in lines
    assert lines.index("### Image") < lines.index("### Workload")


def test_check_is_content_with_what_it_wrote(chart: Path) -> None:
    reference.main(["--chart", str(chart)])

    assert reference.main(["--chart", str(chart), "--check"]) == 0


@pytest.mark.parametrize("name", ["values.yaml", "values.schema.json", "README.md"])
def test_check_fails_when_a_file_drifts(chart: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference.main(["--chart", str(chart)])
    drifted = (chart / name).read_text().replace("Name of the image.", "Some other name.")
    (chart / name).write_text(drifted)

    assert reference.main(["--chart", str(chart), "--check"]) == 1
    assert "Some other name." in capsys.readouterr().err
    assert (chart / name).read_text() == drifted


def test_a_readme_without_its_markers_is_an_error(chart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (chart / "README.md").write_text("# A chart\n")

    assert reference.main(["--chart", str(chart)]) == 2
    assert "README.md needs the lines" in capsys.readouterr().err


def test_the_reference_of_the_chart_is_up_to_date() -> None:
    assert reference.main(["--check"]) == 0


def test_a_changed_comment_in_the_chart_is_noticed(tmp_path: Path) -> None:
    for name in ("values.yaml", "values.schema.json", "README.md"):
        shutil.copy(reference.CHART / name, tmp_path / name)
    values = (tmp_path / "values.yaml").read_text()
    described = next(reference.leaves(reference.read_entries(values))).description
    (tmp_path / "values.yaml").write_text(values.replace(described.split(".")[0], "Changed", 1))

    assert reference.main(["--check", "--chart", str(tmp_path)]) == 1


def test_every_object_of_the_chart_is_closed_or_opened_on_purpose() -> None:
    def undecided(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        here = [path] if "properties" in node and "additionalProperties" not in node else []
        return here + [
            hit for key, child in node.get("properties", {}).items() for hit in undecided(child, f"{path}.{key}")
        ]

    written = json.loads((reference.CHART / "values.schema.json").read_text())

    assert undecided(written, "") == []
    assert written["additionalProperties"] is False


def named_in(text: str) -> set[str]:
    """Values that a document names in code style, such as `image.{registry,tag}` or `replicas: 2`."""
    named = set()
    for token in re.findall(r"`([a-z]\w*(?:\.[\w{},]+)*)(?:: [^`]*)?`", text):
        alternatives = [part.strip("{}").split(",") for part in token.split(".")]
        named |= {".".join(path) for path in itertools.product(*alternatives)}
    return named


def unknown_values(text: str) -> list[str]:
    """Those that begin like a value of the chart and lead nowhere."""
    values = yaml.safe_load((reference.CHART / "values.yaml").read_text())

    def leads_somewhere(name: str) -> bool:
        node = values
        for key in name.split("."):
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
        return True

    return sorted(name for name in named_in(text) if name.split(".")[0] in values and not leads_somewhere(name))


@pytest.mark.parametrize("name", ["operations.md", "production.md"])
def test_the_values_that_a_document_names_are_in_the_chart(name: str) -> None:
    text = (reference.CHART.parent / "docs" / name).read_text()

    assert "database.existingSecret" in named_in(text)
    assert unknown_values(text) == []


def test_a_document_that_names_a_value_which_is_gone_is_noticed() -> None:
    assert unknown_values("Set `image.{tag,name}` and `database.tls.mode: off`.") == ["image.name"]
