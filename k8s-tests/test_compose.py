"""compose.yaml against the Compose Specification, and its rules against the chart's."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from charts import compose, third_party
from charts.render import Renderer


@pytest.fixture(scope="module")
def specification() -> jsonschema.Draft7Validator:
    """By its number: the schema writes that of its own dialect in a way that nobody else does."""
    return jsonschema.Draft7Validator(third_party.compose_schema())


@pytest.fixture
def written() -> Any:
    return yaml.safe_load((compose.ROOT / "compose.yaml").read_text("utf-8"))


def test_it_is_what_the_specification_allows(specification: Any, written: Any) -> None:
    assert [error.message for error in specification.iter_errors(written)] == []


@pytest.mark.parametrize(
    "wrong", [{"imagge": "redis"}, {"ports": "8000"}, {"depends_on": {"api": {"condition": "up"}}}]
)
def test_what_the_specification_forbids_is_told(specification: Any, written: Any, wrong: dict[str, Any]) -> None:
    written["services"]["api"].update(wrong)
    assert list(specification.iter_errors(written))


def test_prometheus_has_the_rules_of_the_chart(renderer: Renderer) -> None:
    assert compose.RULES.read_text("utf-8") == compose.rules(renderer), "run `make observability`"
