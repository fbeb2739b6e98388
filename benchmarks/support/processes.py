"""What a process and all its descendants use, from Linux's /proc; and how to end them."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The pids of a process and of its living descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system CPU time so far of a whole tree, with that of children that ended."""
    ticks = sum(sum(map(int, _stat(pid)[11:15])) for pid in tree(root))
    return ticks / _TICKS_A_SECOND


def main_thread_cpu_seconds(root: int) -> float:
    """User and system CPU time so far of the main threads of a whole tree."""
    ticks = sum(sum(map(int, _stat(pid, f"task/{pid}/")[11:13])) for pid in tree(root))
    return ticks / _TICKS_A_SECOND


def memory_mib(root: int) -> float:
    """Memory of a whole tree now, in MiB: the sum of PSS, so that shared pages count once."""
    kib = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):  # it may end meanwhile
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def peak_mib() -> float:
    """Most resident memory of this process so far, in MiB.

    The system's `ru_maxrss` begins with what the parent had.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def stop(root: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """End a process, politely for so many seconds, then by force what is left of its tree."""
    # A descriptor stays with its process, where a pid may pass to another one.
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
    """The fields of /proc/PID/stat after the name, which may hold spaces; none if it ended."""
    try:
        text = Path(f"/proc/{pid}/{thread}stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
