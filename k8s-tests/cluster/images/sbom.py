"""The bill of materials of an image, by what is truly in it: Python's and Debian's own records, from its layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.parser import BytesHeaderParser
from pathlib import PurePosixPath
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from cluster.images.archive import Image

DPKG_STATUS = PurePosixPath("/var/lib/dpkg/status")


class InvalidSbomError(Exception):
    """The document breaks CycloneDX's own schema: a fault of this module."""


def bill_of_materials(image: Image) -> str:
    """A CycloneDX 1.6 document (JSON), the same for the same image but for its timestamp. Raises InvalidSbomError."""
    digest = image.layers[-1].removeprefix("sha256:")
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"{image.name}@{digest}"))
    repository, _, tag = image.name.rpartition(":")
    bom.metadata.component = Component(name=repository, version=tag, type=ComponentType.CONTAINER, bom_ref="image")
    bom.components.update(python_packages(image), debian_packages(image))
    bom.register_dependency(bom.metadata.component, bom.components)
    document = JsonV1Dot6(bom).output_as_string(indent=2)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    if fault is not None:
        raise InvalidSbomError(str(fault))
    return document + "\n"


def python_packages(image: Image) -> list[Component]:
    """The distributions that Python finds in the image: each has a METADATA file."""
    paths = [path for path in image.files if path.name == "METADATA" and path.parent.suffix == ".dist-info"]
    parsed = [BytesHeaderParser().parsebytes(content) for content in image.contents(paths).values()]
    return _components("pypi", None, ((str(found["Name"]), str(found["Version"]), {}) for found in parsed))


def debian_packages(image: Image) -> list[Component]:
    """The packages that dpkg has installed in the image; none in an image without dpkg."""
    if DPKG_STATUS not in image.files:
        return []
    status = image.contents([DPKG_STATUS])[DPKG_STATUS].decode()
    stanzas = [BytesHeaderParser().parsebytes(stanza.encode()) for stanza in re.split(r"\n\n+", status.strip())]
    return _components(
        "deb",
        "debian",
        (
            (str(found["Package"]), str(found["Version"]), {"arch": str(found["Architecture"])})
            for found in stanzas
            if str(found["Status"]).endswith(" installed")
        ),
    )


def _components(
    kind: str, namespace: str | None, packages: Iterable[tuple[str, str, dict[str, str]]]
) -> list[Component]:
    found = []
    for name, version, qualifiers in packages:
        url = PackageURL(type=kind, namespace=namespace, name=name, version=version, qualifiers=qualifiers)
        component = Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=url.to_string())
        found.append(component)
    return found
