"""Device, threads and memory of the process."""

from app.core.runtime.allocator import (
    keep_freed_memory,
)
from app.core.runtime.device import (
    Lanes,
    Placement,
    choose_batch_size,
    choose_lanes,
    choose_placement,
    device_memory,
    use_own_stream,
)
from app.core.runtime.threads import (
    DaemonThreads,
    LoneThreads,
    compute_with,
    in_passing,
)

__all__ = [
    "DaemonThreads",
    "Lanes",
    "LoneThreads",
    "Placement",
    "choose_batch_size",
    "choose_lanes",
    "choose_placement",
    "compute_with",
    "device_memory",
    "in_passing",
    "keep_freed_memory",
    "use_own_stream",
]
