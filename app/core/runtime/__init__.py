"""Device, threads and memory allocator of the process."""

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
    run_in_new_thread,
    set_torch_threads,
)

__all__ = [
    "DaemonThreads",
    "InferenceWorkers",
    "Placement",
    "SingleImageThreads",
    "choose_batch_size",
    "choose_inference_workers",
    "choose_placement",
    "device_memory",
    "keep_freed_memory",
    "run_in_new_thread",
    "set_torch_threads",
    "use_own_stream",
]
