"""The operator's image: small, without the service, and with the same manners."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from cluster.images.archive import Image, read_image
from cluster.images.base import PYTHON, base_archive
from cluster.images.build import OPERATOR_TAG, build

VENV = PurePosixPath("/opt/slipway")


@pytest.fixture(scope="module")
def image(builder: None) -> Image:  # noqa: ARG001 - it is what builds
    return read_image(build("operator", OPERATOR_TAG))


@pytest.fixture(scope="module")
def base(builder: None) -> Image:  # noqa: ARG001 - it is what builds
    return read_image(base_archive(PYTHON))


def packages(image: Image) -> set[str]:
    return {path.name for path in image.files if path.parent.name == "site-packages" and VENV in path.parents}


def test_it_runs_the_operator_as_a_numeric_user(image: Image) -> None:
    assert image.settings["User"] == "10001:10001"
    assert image.settings["Cmd"] == ["slipway-operator", "run"]
    assert image.settings["ExposedPorts"] == {"9090/tcp": {}}
    assert VENV / "bin" / "slipway-operator" in image.files
    assert VENV / "bin" / "squawk" in image.files
    assert image.settings["Healthcheck"]["Test"][0] == "CMD"


def test_it_adds_at_most_120_mb_to_its_base(image: Image, base: Image) -> None:
    above = image.size_above(base) / 1e6
    print(f"operator's image {sum(image.sizes) / 1e6:.0f} MB, {above:.0f} MB above its base")  # noqa: T201 - a figure
    assert above <= 120


def test_each_image_holds_its_own_half_only(image: Image) -> None:
    assert "slipway_operator" in packages(image)
    assert not {"slipway", "fastapi", "sqlalchemy"} & packages(image)
    service = read_image(build())
    assert "slipway" in packages(service)
    assert not {"slipway_operator", "kopf"} & packages(service)
    assert VENV / "bin" / "slipway-operator" not in service.files
