"""Programs that are built from Go modules, each module once for each content of it.

A module's folder holds go.mod and go.sum (and sources of its own, if any), which pin every source by its hash. What was
built lies in `<cache>/binaries/<module>-<hash>`; that folder appears complete or not at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from cluster import golang
from cluster.commands import CommandError, tail
from cluster.errors import ClusterError
from cluster.locks import exclusive
from cluster.progress import Progress
from cluster.settings import KUBERNETES_VERSION, cache_folder

SOURCES = Path(__file__).parent / "go"
BUILD_SECONDS = 3600.0
REPORT_SECONDS = 30.0
HASH_LENGTH = 12


@dataclass(frozen=True)
class Module:
    """`packages` is what `go build` is given; `first` says how long that takes on two cores with nothing cached."""

    folder: Path
    programs: tuple[str, ...]
    packages: str = "tool"
    stamps: tuple[str, ...] = ()
    first: str = "some seconds"

    @property
    def name(self) -> str:
        return self.folder.name


KUBERNETES = Module(
    SOURCES / "kubernetes",
    ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
    stamps=(f"k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",),
    first="about 8 minutes",
)
TOOLS = Module(SOURCES / "tools", ("coredns", "helm"), first="about 7 minutes")
METRICS = Module(SOURCES / "metrics-server", ("metrics-server",), first="about 3 minutes")
PAUSE = Module(SOURCES / "pause", ("pause",), packages=".")
HELM3 = Module(SOURCES / "helm3", ("helm",), first="about 4 minutes")
ACTIONLINT = Module(SOURCES / "actionlint", ("actionlint",))
SLOTH = Module(SOURCES / "sloth", ("sloth",), first="about 2 minutes")

OWN_CLUSTER = (KUBERNETES, TOOLS, METRICS, PAUSE)
"""What a cluster of our own is made of."""

TOOL_MODULES = {program: module for module in OWN_CLUSTER for program in module.programs}
TOOL_MODULES |= {"helm3": HELM3, "actionlint": ACTIONLINT, "sloth": SLOTH}


def tool(name: str, progress: Progress | None = None) -> Path:
    """The program of that name, built first if need be; `helm` is Helm 4 and `helm3` is Helm 3."""
    module = TOOL_MODULES.get(name)
    if module is None:
        raise ClusterError(f"{name} is none of the tools: {', '.join(sorted(TOOL_MODULES))}")
    program = name if name in module.programs else module.programs[0]
    return ensure(module, cache_folder(os.environ), progress or Progress()) / program


def fingerprint(module: Module) -> str:
    """Changes with anything that the programs are made from."""
    digest = hashlib.sha256(repr((module.packages, module.stamps, platform.machine())).encode())
    for path in sorted(module.folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:HASH_LENGTH]


def folder_of(module: Module, cache: Path) -> Path:
    return cache / "binaries" / f"{module.name}-{fingerprint(module)}"


def ensure(module: Module, cache: Path, progress: Progress) -> Path:
    """The folder with the module's programs. Another process that builds the same is waited for."""
    target = folder_of(module, cache)
    if target.is_dir():
        return target
    with exclusive(cache / "locks" / f"binaries-{module.name}", within=BUILD_SECONDS):
        if not target.is_dir():
            _build_and_publish(module, target, cache, progress)
    return target


def _build_and_publish(module: Module, target: Path, cache: Path, progress: Progress) -> None:
    go = golang.toolchain(golang.required(module.folder), cache, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    progress.say(f"building {', '.join(module.programs)}: {module.first} the first time, kept in {target}")
    with (
        progress.step(f"{module.name} built"),
        tempfile.TemporaryDirectory(prefix=f".{module.name}-", dir=target.parent) as scratch,
    ):
        built = Path(scratch) / "built"
        built.mkdir()
        _build(module, go, built, progress)
        if absent := [program for program in module.programs if not (built / program).is_file()]:
            raise ClusterError(f"{module.folder} doesn't build {', '.join(absent)}")
        built.rename(target)


def _build(module: Module, go: str, output: Path, progress: Progress) -> None:
    flags = " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in module.stamps)])
    command = [go, "build", "-v", "-trimpath", "-ldflags", flags, "-o", f"{output}/", module.packages]
    log = output.parent / "log"
    environment = {**os.environ, **golang.ENVIRONMENT}
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            command, cwd=module.folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment
        ) as process,
    ):
        try:
            _wait(process, module, log, progress)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise CommandError(command, f"ended with code {process.returncode}", log.read_text())


def _wait(process: subprocess.Popen[bytes], module: Module, log: Path, progress: Progress) -> None:
    """Until the build ends, say now and then how far it is; ClusterError after BUILD_SECONDS."""
    begin = monotonic()
    while monotonic() < begin + BUILD_SECONDS:
        try:
            process.wait(timeout=REPORT_SECONDS)
        except subprocess.TimeoutExpired:
            compiled = sum(not line.startswith("go: ") for line in log.read_text().splitlines())
            progress.say(f"{module.name}: {compiled} packages compiled after {monotonic() - begin:.0f} s")
        else:
            return
    raise ClusterError(f"{module.name} was not built within {BUILD_SECONDS:g} s:\n{tail(log.read_text())}")
