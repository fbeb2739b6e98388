"""CPU quotas are read from made-up /proc and /sys/fs/cgroup trees."""

import math
import os
from pathlib import Path

import pytest

from app.core import cpus

V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {"proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/\n"}
CPU_V1 = "sys/fs/cgroup/cpu,cpuacct"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def quota_v1(directory: str, quota_us: int, period_us: int = 100_000) -> dict[str, str]:
    return {
        f"{directory}/cpu.cfs_quota_us": f"{quota_us}\n",
        f"{directory}/cpu.cfs_period_us": f"{period_us}\n",
    }


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, id="v2"),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, id="v2-fraction"),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf, id="v2-max"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/pods/pod1/web\n",
                "sys/fs/cgroup/pods/cpu.max": "1600000 100000\n",
                "sys/fs/cgroup/pods/pod1/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/pods/pod1/web/cpu.max": "max 100000\n",
            },
            3,
            id="v2-limit-of-an-ancestor",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/../../web\n",
                "sys/fs/cgroup/cpu.max": "400000 100000\n",
            },
            4,
            id="v2-outside-the-cgroup-namespace",
        ),
        pytest.param(V1 | quota_v1(CPU_V1, 150_000), 1.5, id="v1"),
        pytest.param(V1 | quota_v1(CPU_V1, -1), math.inf, id="v1-no-quota"),
        pytest.param(V1 | quota_v1("sys/fs/cgroup/cpu", 20_000, 10_000), 2, id="v1-cpu-link"),
        pytest.param(
            {"proc/self/cgroup": "4:cpu,cpuacct:/docker/0a1b\n"} | quota_v1(CPU_V1, 200_000),
            2,
            id="v1-path-of-the-host",
        ),
        pytest.param(
            {"proc/self/cgroup": "4:cpu,cpuacct:/docker/0a1b\n0::/docker/0a1b\n"}
            | quota_v1(f"{CPU_V1}/docker/0a1b", 600_000)
            | {"sys/fs/cgroup/unified/docker/0a1b/cgroup.procs": "1\n"},
            6,
            id="hybrid",
        ),
        pytest.param(
            {"proc/self/cgroup": "3:cpuset:/a\n"} | quota_v1("sys/fs/cgroup/cpuset/a", 100_000),
            math.inf,
            id="other-controller",
        ),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": ""}, math.inf, id="empty-file"),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max": "100000 0\n"}, math.inf, id="period-zero"),
        pytest.param(V2 | {"sys/fs/cgroup/cpu.max/x": ""}, math.inf, id="unreadable-file"),
        pytest.param({}, math.inf, id="no-cgroup"),
    ],
)
def test_cgroup_quota(tmp_path: Path, files: dict[str, str], limit: float) -> None:
    assert cpus.cgroup_cpu_limit(tree(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"),
    [(8, math.inf, 8), (8, 2.0, 2), (8, 2.5, 3), (2, 6.0, 2), (8, 0.1, 1)],
)
def test_usable_cpus_is_smallest_limit(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float, usable: int
) -> None:
    monkeypatch.setattr(cpus, "_scheduled_cpus", lambda: affinity)
    monkeypatch.setattr(cpus, "cgroup_cpu_limit", lambda: quota)
    assert cpus.usable_cpus() == usable


def test_usable_cpus_of_this_machine() -> None:
    assert 1 <= cpus.usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("quota", "before", "after"),
    [(2.5, None, "3"), (2.5, "1", "1"), (math.inf, None, None), (8.0, None, None)],
)
def test_openmp_threads_follow_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, before: str | None, after: str | None
) -> None:
    environment = {} if before is None else {"OMP_NUM_THREADS": before}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(cpus, "_scheduled_cpus", lambda: 8)
    monkeypatch.setattr(cpus, "cgroup_cpu_limit", lambda: quota)
    cpus.limit_openmp_threads()
    assert environment.get("OMP_NUM_THREADS") == after
