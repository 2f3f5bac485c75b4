from __future__ import annotations

from pathlib import Path

import pytest

from slipway_operator.settings import Settings, SettingsError


def settings(tmp_path: Path, **variables: str) -> Settings:
    environment = {f"SLIPWAY_OPERATOR_{name}": value for name, value in variables.items()}
    return Settings.from_environment({"HOSTNAME": "pod-1", **environment}, tmp_path)


def test_without_variables_the_whole_cluster_is_served(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found == Settings(identity="pod-1")
    assert found.namespaces == ()
    assert found.ops_host == "127.0.0.1"


def test_the_own_namespace_is_the_service_account_s(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("shop\n")
    assert settings(tmp_path).namespace == "shop"
    assert settings(tmp_path, NAMESPACE="other").namespace == "other"


def test_namespaces_are_told_apart_by_commas(tmp_path: Path) -> None:
    assert settings(tmp_path, NAMESPACES=" a, b,,a ").namespaces == ("a", "b")


@pytest.mark.parametrize(("namespaces", "place"), [("", "own"), ("a,own", "own"), ("a,b", "a")])
def test_the_lease_is_where_the_operator_watches(tmp_path: Path, namespaces: str, place: str) -> None:
    assert settings(tmp_path, NAMESPACE="own", NAMESPACES=namespaces).home_namespace == place


def test_the_lease_that_stands_for_a_whole_cluster_is_none_of_a_namespace(tmp_path: Path) -> None:
    assert settings(tmp_path).home_lease == "slipway-operator-cluster"
    assert settings(tmp_path, NAMESPACES="a").home_lease == "slipway-operator"


def test_empty_variables_count_as_not_set(tmp_path: Path) -> None:
    assert settings(tmp_path, NAMESPACES="", OPS_PORT=" ", LOG_LEVEL="", NAMESPACE="") == settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "NAMESPACES",
            "shop,Not-A-Name",
            "SLIPWAY_OPERATOR_NAMESPACES holds 'Not-A-Name', which is no namespace's name",
        ),
        ("NAMESPACE", "../etc", "SLIPWAY_OPERATOR_NAMESPACE holds '../etc'"),
        ("OPS_PORT", "tcp://10.0.0.1:9090", "set a port between 1 and 65535"),
        ("OPS_PORT", "0", "set a port between 1 and 65535"),
        ("OPS_PORT", "70000", "set a port between 1 and 65535"),
        ("LOG_LEVEL", "LOUD", "set DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        settings(tmp_path, **{name: value})


def test_levels_are_read_in_any_case(tmp_path: Path) -> None:
    assert settings(tmp_path, LOG_LEVEL="debug").log_level == "DEBUG"
