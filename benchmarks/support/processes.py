"""CPU time and memory of a process tree, read from Linux's /proc, and how to stop one."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Return the pids of a process and of its living descendants, the process first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:  # grows during the iteration
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Return the user and system CPU time of a process tree, including children that exited."""
    ticks = sum(sum(map(int, _stat(pid)[11:15])) for pid in tree(root))
    return ticks / _TICKS_PER_SECOND


def main_thread_cpu_seconds(root: int) -> float:
    """Return the user and system CPU time of the main threads of a process tree."""
    ticks = sum(sum(map(int, _stat(pid, f"task/{pid}/")[11:13])) for pid in tree(root))
    return ticks / _TICKS_PER_SECOND


def memory_mib(root: int) -> float:
    """Return the memory of a process tree in MiB, as the sum of PSS: shared pages count once."""
    kib = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):  # the process may exit at any time
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB.

    `ru_maxrss` would include the parent's memory at the time of the fork.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def stop(root: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Stop a process tree: SIGTERM to its root, then SIGKILL to every process that remains.

    Args:
        root: root of the tree.
        seconds: time that the root has to exit after SIGTERM.
    """
    # A pidfd keeps referring to its process, while a pid may be reused.
    handles = []
    for pid in tree(root.pid):
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
    root.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        root.wait(seconds)
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    root.wait()


def _stat(pid: int, thread: str = "") -> list[str]:
    """Return the fields of /proc/PID/stat after the name; an empty list if the process exited."""
    try:
        text = Path(f"/proc/{pid}/{thread}stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name, in parentheses, may contain spaces
