from __future__ import annotations

import _imp
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from cluster.images import build as builds
from cluster.images import pip_settings
from cluster.images.__main__ import SBOM
from cluster.images.__main__ import main as make_image
from cluster.images.archive import Image, read_image
from cluster.images.base import PYTHON, NoBaseImageError, base_archive, debian_mirror
from cluster.images.build import ROOT, build, build_foreign
from cluster.images.sbom import bill_of_materials, debian_packages, python_packages
from cluster.images.store import content_hash, keep_newest, made_once

VENV = PurePosixPath("/opt/slipway")
NOT_COMPILED = {"test", "tests", "idlelib", "tkinter", "turtledemo", "pydoc_data", "site-packages", "dist-packages"}


@pytest.fixture(scope="module")
def archive(builder: None) -> Path:  # noqa: ARG001 - it is what builds
    return build()


@pytest.fixture(scope="module")
def image(archive: Path) -> Image:
    return read_image(archive)


@pytest.fixture(scope="module")
def base(builder: None) -> Image:  # noqa: ARG001 - it is what builds
    return read_image(base_archive(PYTHON))


def standard_library(image: Image) -> PurePosixPath:
    """The folder of `os.py`: /usr/local/lib/python3.13 in the official image."""
    return min((path.parent for path in image.files if path.name == "os.py"), key=lambda path: len(path.parts))


def modules(image: Image) -> list[PurePosixPath]:
    """The Python files that a start may load: the venv's, and the standard library's but for what no service uses."""
    library = standard_library(image)
    return [
        path
        for path, entry in image.files.items()
        if path.suffix == ".py"
        and entry.kind == "file"
        and (
            VENV in path.parents
            or (library in path.parents and not NOT_COMPILED.intersection(path.relative_to(library).parts))
        )
    ]


def bytecode(module: PurePosixPath) -> PurePosixPath:
    return module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc"


def programs(image: Image) -> set[str]:
    return {path.name for path in image.files if path.parent.name in {"bin", "sbin"}}


def test_the_image_runs_as_a_numeric_user_without_rights(image: Image) -> None:
    assert image.settings["User"] == "10001:10001"
    assert {entry.owner for path, entry in image.files.items() if VENV in path.parents} == {0}
    assert not [p for p, e in image.files.items() if VENV in p.parents and e.kind != "link" and e.mode & 0o022]


def test_a_container_without_arguments_serves_on_every_address(image: Image) -> None:
    assert not image.settings.get("Entrypoint")
    assert image.settings["Cmd"] == ["slipway", "serve"]
    assert set(image.settings["ExposedPorts"]) == {"8000/tcp", "9090/tcp"}
    environment = dict(line.split("=", 1) for line in image.settings["Env"])
    assert environment["SLIPWAY_HOST"] == environment["SLIPWAY_OPS_HOST"] == "::"
    assert environment["PATH"].startswith("/opt/slipway/bin:")
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert PurePosixPath("/opt/slipway/bin/slipway") in image.files


def test_no_installer_and_no_compiler_is_left(image: Image, base: Image) -> None:
    unwanted = re.compile(r"(pip[\d.]*|easy_install|g?cc|c\+\+|g\+\+|clang|ld|as|make|strip|curl|wget)")
    assert not [name for name in programs(image) if unwanted.fullmatch(name)]
    packages = {path.name for path in image.files if path.parent.name.endswith("-packages")}
    assert not packages & {"pip", "setuptools", "wheel", "hatchling"}
    assert standard_library(image) / "ensurepip" not in image.files
    # The same look at the base finds what was taken away.
    assert "pip" in programs(base)


def test_nothing_of_the_machine_that_built_it_is_left(image: Image) -> None:
    left = {"/etc/pip.conf", "/run/certificates.pem", "/build", "/package"}
    assert not [path for path in image.files if str(path) in left or path.name == ".cache"]


def test_it_adds_at_most_120_mb_to_its_base(image: Image, base: Image) -> None:
    above = image.size_above(base) / 1e6
    print(f"image {sum(image.sizes) / 1e6:.0f} MB, {above:.0f} MB above its base")  # noqa: T201 - the figure is what one wants to see
    assert above <= 120
    with pytest.raises(ValueError, match="doesn't start from"):
        base.size_above(image)


def test_all_that_a_start_loads_is_compiled_beforehand(image: Image, base: Image) -> None:
    assert len(modules(image)) > 2000
    assert not [module for module in modules(image) if bytecode(module) not in image.files]
    # The base has none: without the Dockerfile's step each start would compile the standard library.
    assert not [module for module in modules(base) if bytecode(module) in base.files]


def test_bytecode_belongs_to_the_source_beside_it(image: Image) -> None:
    chosen = modules(image)
    contents = image.contents([*chosen, *map(bytecode, chosen)])
    for module in chosen:
        compiled = contents[bytecode(module)]
        # Unchecked: Python trusts it without a look at the source's time, which layers don't keep.
        assert compiled[4:8] == (1).to_bytes(4, "little")
        key = int.from_bytes(compiled[:4], "little")
        assert compiled[8:16] == _imp.source_hash(key, contents[module]), module


def test_the_labels_say_what_it_is(image: Image) -> None:
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.settings["Labels"].items()}
    assert labels["title"] == "Slipway"
    assert labels["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {"description", "revision"} <= set(labels)


def test_another_version_is_another_image_of_the_same_code(image: Image) -> None:
    other = read_image(build(tag="slipway:0.1.0-next", version="0.1.0-next"))
    assert other.name.endswith("slipway:0.1.0-next")
    assert other.settings["Labels"]["org.opencontainers.image.version"] == "0.1.0-next"
    assert other.configuration != image.configuration
    assert len(set(other.layers) & set(image.layers)) >= 5


def test_the_same_content_is_built_once(archive: Path) -> None:
    before = archive.stat()
    assert build() == archive
    assert archive.stat() == before


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use one of service, dev"):
        build("nonsense")


@contextmanager
def ops_port(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers all with `status`, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_ops_port_where_it_is(image: Image, status: int, healthy: bool) -> None:  # noqa: FBT001
    kind, program, *arguments = image.settings["Healthcheck"]["Test"]
    assert (kind, program) == ("CMD", "python")
    with ops_port(status) as (port, asked):
        ended = subprocess.run(
            [sys.executable, *arguments], env={**os.environ, "SLIPWAY_OPS_PORT": str(port)}, check=False, timeout=20
        )
    assert asked == ["/livez"]
    assert (ended.returncode == 0) is healthy


def test_the_bill_of_materials_lists_what_is_in_the_image(image: Image, base: Image) -> None:
    document = bill_of_materials(image)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.replace('"library"', '"shelf"')) is not None
    installed = {component.name: component.version for component in python_packages(image)}
    pinned = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / "requirements/service.txt").read_text(), re.MULTILINE))
    assert installed["slipway"] == "0.1.0"
    assert {name: version for name, version in pinned.items() if name in installed} == {
        name: version for name, version in installed.items() if name in pinned
    }
    assert "fastapi" in installed
    assert "pytest" not in installed
    assert {"libc6", "libssl3t64", "ca-certificates"} <= {component.name for component in debian_packages(image)}
    assert [component.name for component in python_packages(base)] == ["pip"]


@pytest.mark.usefixtures("builder")
def test_make_image_tells_size_and_writes_the_bill_of_materials(capsys: pytest.CaptureFixture[str]) -> None:
    SBOM.unlink(missing_ok=True)
    assert make_image() == 0
    said = capsys.readouterr().out
    assert "docker.io/library/slipway:0.1.0" in said
    assert re.search(r"\d+ MB of it above docker.io/library/python:3.13-slim", said)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(SBOM.read_text()) is None


def test_the_build_tools_are_the_pinned_ones() -> None:
    pins = {
        name: set((ROOT / "requirements" / f"{name}.txt").read_text().replace(" \\", "").split("\n"))
        for name in ("build", "run")
    }
    exact = {line for line in pins["build"] if "==" in line or "--hash" in line}
    assert exact
    assert exact <= pins["run"]


def test_the_image_for_development_takes_changed_code(image: Image) -> None:
    dev = read_image(build("dev", tag="slipway:dev"))
    assert "PYTHONPATH=/src" in dev.settings["Env"]
    sources = {path: entry for path, entry in dev.files.items() if PurePosixPath("/src") in path.parents}
    assert PurePosixPath("/src/slipway/cli.py") in sources
    assert {entry.owner for entry in sources.values()} == {10001}
    assert PurePosixPath("/src") not in image.files


@pytest.mark.usefixtures("builder")
def test_the_foreign_image_has_nothing_of_slipway() -> None:
    foreign = read_image(build_foreign())
    assert foreign.name == "docker.io/library/foreign:1"
    assert {component.name for component in python_packages(foreign)} == {"pip", "uvicorn", "click", "h11"}
    assert not [path for path in foreign.files if "slipway" in str(path)]


def test_pip_in_a_build_is_told_how_to_reach_packages_and_nothing_else(tmp_path: Path) -> None:
    listing = "global.index-url='https://a'\n:env:.cert='/ca.pem'\n:env:.index-url='https://b'\nglobal.user='true'\n"
    settings = pip_settings.parse(listing + "freeze.timeout='9'\n")
    assert settings == {"index-url": "https://b", "cert": "/ca.pem", "user": "true"}
    assert pip_settings.configuration(settings) == "[global]\nindex-url = https://b\ncert = /run/certificates.pem\n"
    several = {"extra-index-url": "\nhttps://c\nhttps://d", "find-links": "/opt/wheels https://e"}
    written = "[global]\nextra-index-url = https://c https://d\nfind-links = https://e\n"
    assert pip_settings.configuration(several) == written
    assert pip_settings.configuration({"find-links": "/opt/wheels"}) == "[global]\n"
    secrets = pip_settings.secrets(tmp_path)
    assert secrets["pip"].stat().st_mode & 0o777 == 0o600


def test_the_mirror_of_a_stand_in_is_the_one_that_apt_uses(tmp_path: Path) -> None:
    with pytest.raises(NoBaseImageError, match="start docker"):
        debian_mirror(tmp_path)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "other.list").write_text("deb https://example.com/tools stable main\n")
    (tmp_path / "sources.list.d" / "z.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: x\n"
    )
    assert debian_mirror(tmp_path) == "http://mirror.example/debian"
    (tmp_path / "sources.list").write_text("deb [signed-by=/k] http://first.example/debian/ trixie main\n")
    assert debian_mirror(tmp_path) == "http://first.example/debian/"


def test_a_change_of_bytes_name_mode_or_words_is_another_hash(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    seen = {content_hash(tmp_path, [file])}
    seen.add(content_hash(tmp_path, [file], "word"))
    file.chmod(0o755)
    seen.add(content_hash(tmp_path, [file]))
    file.write_text("two")
    seen.add(content_hash(tmp_path, [file]))
    other = file.rename(tmp_path / "b")
    seen.add(content_hash(tmp_path, [other]))
    assert len(seen) == 5
    assert content_hash(tmp_path, [other]) in seen


def test_a_build_that_breaks_off_leaves_nothing_that_looks_done(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="full"):
        made_once(tmp_path / "image.tar", broken)
    assert not list(tmp_path.iterdir())
    made_once(tmp_path / "image.tar", lambda path: path.touch())
    assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]


def test_old_archives_go_and_the_newest_stay(tmp_path: Path) -> None:
    for number in range(6):
        file = tmp_path / f"slipway-{number:012}.tar"
        file.touch()
        os.utime(file, (number, number))
    (tmp_path / "slipway-next-000000000000.tar").touch()
    keep_newest(tmp_path, "slipway-????????????.tar", 2)
    assert {path.stem[-1] for path in tmp_path.glob("slipway-????????????.tar")} == {"4", "5"}
    assert (tmp_path / "slipway-next-000000000000.tar").exists()


def test_the_build_context_holds_only_what_the_dockerfiles_copy() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    known = {*builds.COMMON, *(name for own in builds.OWN.values() for name in own)}
    assert allowed == known - {".dockerignore", "Dockerfile", "operator/Dockerfile"}
