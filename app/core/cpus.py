"""The number of CPUs that this process can use: CPU affinity and cgroup quotas.

In a container, `os.cpu_count()` returns the CPUs of the host. A container with a quota of 2 CPUs on
a host with 64 must not start 64 threads: the kernel would stop all of them once the quota of the
period is used up.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus() -> int:
    """Return how many CPUs this process can keep busy; at least 1."""
    return max(1, math.ceil(min(_scheduled_cpus(), cgroup_cpu_limit())))


def cgroup_cpu_limit(root: Path = Path("/")) -> float:
    """Return the smallest CPU quota of the process's cgroup and its ancestors.

    Args:
        root: the root of the file system, with `proc/self/cgroup` and `sys/fs/cgroup`.

    Returns:
        The quota in CPUs, such as 2.0 or 0.5; infinity without a readable quota.
    """
    return min(map(_quota, _cgroup_directories(root)), default=math.inf)


def limit_openmp_threads() -> None:
    """Set OMP_NUM_THREADS if a cgroup quota limits the CPUs and the variable is not set.

    torch and NumPy read it when they are imported, and otherwise use all CPUs of the affinity.
    """
    if cgroup_cpu_limit() < _scheduled_cpus():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cpus()))


def _scheduled_cpus() -> int:
    """Return how many CPUs the affinity of this process allows."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_directories(root: Path) -> Iterator[Path]:
    """Yield the directories of the process's CPU cgroups, from the mount points downwards."""
    mount = root / "sys" / "fs" / "cgroup"
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)  # 0::/PATH is version 2
        if not controllers:
            bases = [mount, mount / "unified"]  # the second one in hybrid mode
        elif "cpu" in controllers.split(","):
            bases = [mount / controllers, mount / "cpu"]
        else:
            continue
        # Without a cgroup namespace, the path is that of the host, but the mount point is the
        # container's own cgroup: directories that do not exist have no quota.
        names = [name for name in path.split("/") if name not in ("", "..")]
        for base in bases:
            yield from (base.joinpath(*names[:depth]) for depth in range(len(names) + 1))


def _quota(directory: Path) -> float:
    """Return the quota of one cgroup in CPUs: of version 2, else of version 1."""
    fields = _read(directory / "cpu.max").split() or [
        _read(directory / "cpu.cfs_quota_us"),
        _read(directory / "cpu.cfs_period_us"),
    ]
    try:
        quota_us, period_us = map(int, fields)
    except ValueError:  # "max", or no such files
        return math.inf
    return quota_us / period_us if quota_us > 0 and period_us > 0 else math.inf  # -1: no quota


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
