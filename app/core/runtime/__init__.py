"""Device, threads and memory of the process."""

from app.core.runtime.allocator import (
    keep_freed_memory,
)
from app.core.runtime.device import (
    InferenceWorkers,
    Placement,
    choose_batch_size,
    choose_inference_workers,
    choose_placement,
    device_memory,
    use_own_stream,
)
from app.core.runtime.threads import (
    DaemonThreads,
    SingleImageThreads,
    compute_with,
    in_passing,
)

__all__ = [
    "DaemonThreads",
    "InferenceWorkers",
    "Placement",
    "SingleImageThreads",
    "choose_batch_size",
    "choose_inference_workers",
    "choose_placement",
    "compute_with",
    "device_memory",
    "in_passing",
    "keep_freed_memory",
    "use_own_stream",
]
