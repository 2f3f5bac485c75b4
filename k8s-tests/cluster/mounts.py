"""A mount namespace for containerd and kubelet: what they mount, and write outside their folders, stays in it.

Inside, /run, /var/lib and /var/log are folders of the cluster, so that two kubelets on a machine don't meet in paths
that are fixed in their code, and nothing of them is left when the namespace goes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cluster.commands import CommandError, run
from cluster.errors import ClusterError
from cluster.settings import Settings

REPLACED = {"run": Path("/run"), "lib": Path("/var/lib"), "log": Path("/var/log")}
ETCD_SIZE = "1g"

KERNEL_SETTINGS = {
    "kernel/keys/root_maxbytes": 25_000_000,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
}
"""What kubelet sets on its machine. Inside it finds these values in place, so that the machine's stay as they are."""


def enter(settings: Settings) -> tuple[str, ...]:
    """What goes before a command that shall see these mounts and the cluster's network."""
    return ("nsenter", f"--net={settings.namespace}", f"--mount={settings.mounts}", "--")


def etcd_folder(settings: Settings) -> Path:
    return settings.folder / "etcd"


def check(settings: Settings) -> None:
    """ClusterError for a folder that the node would not see as the host does."""
    if any(settings.folder.is_relative_to(replaced) for replaced in REPLACED.values()):
        raise ClusterError(f"{settings.folder}: SLIPWAY_CLUSTER_DIR can't be below /run, /var/lib or /var/log")


def create(settings: Settings) -> None:
    """Needs the cluster's folders and its network namespace."""
    own_run = settings.folder / "node" / "run"
    for name in REPLACED:
        (settings.folder / "node" / name).mkdir(parents=True)
    (own_run / settings.run_folder.name).mkdir()
    etcd_folder(settings).mkdir()
    # A namespace can only be pinned where mounts don't propagate.
    run(["mount", "--bind", settings.run_folder, settings.run_folder])
    run(["mount", "--make-private", settings.run_folder])
    settings.mounts.touch()
    _pin(settings.mounts)
    inside = enter(settings)
    # Volumes with mount propagation need a tree that is shared among the node's own programs.
    run([*inside, "mount", "--make-rshared", "/"])
    # A test cluster needn't survive a power cut: etcd waits for no disk.
    run([*inside, "mount", "-t", "tmpfs", "-o", f"size={ETCD_SIZE},mode=700", "etcd", etcd_folder(settings)])
    run([*inside, "mount", "--bind", settings.run_folder, own_run / settings.run_folder.name])
    for name, replaced in REPLACED.items():
        run([*inside, "mount", "--rbind", settings.folder / "node" / name, replaced])
    _hide_kernel_settings(settings.folder / "node" / "kernel", inside)


def _pin(target: Path) -> None:
    """A new mount namespace, held by `target`.

    A namespace can only be pinned in one with a lower number. Kernels since 6.18 number them by ranges, one for each
    CPU: in a container, whose own number may be high, it works for sure only on the CPU where that was given.
    """
    command = ["unshare", f"--mount={target}", "--propagation=slave", "true"]
    *others, last = sorted(os.sched_getaffinity(0))
    for cpu in others:
        with contextlib.suppress(CommandError):
            run(["taskset", "--cpu-list", str(cpu), *command])
            return
    run(["taskset", "--cpu-list", str(last), *command])


def _hide_kernel_settings(folder: Path, inside: tuple[str, ...]) -> None:
    folder.mkdir()
    for name, value in KERNEL_SETTINGS.items():
        real = Path("/proc/sys", name)
        if real.exists():
            stand_in = folder / name.replace("/", ".")
            stand_in.write_text(f"{value}\n")
            run([*inside, "mount", "--bind", stand_in, real])


def remove(settings: Settings) -> None:
    """Let go of the namespace; the kernel unmounts all in it when the last process has left."""
    for target in (settings.mounts, settings.run_folder):
        while target in _mounted():
            run(["umount", target])


def _mounted() -> set[Path]:
    return {Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()}
