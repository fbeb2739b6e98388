"""How the process keeps its memory."""

import ctypes

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next batch, where it is glibc's malloc that is used.

    It gives every large block back to the system otherwise, and a model's intermediate results are
    large blocks: the system would map and clear each page anew, for every layer of every batch.
    One arena, since a thread's own cannot hold blocks so large. To be called before threads start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another system's
        return
    for option, value in (
        (M_MMAP_THRESHOLD, KEPT_BYTES),
        (M_TRIM_THRESHOLD, KEPT_BYTES),
        (M_ARENA_MAX, 1),
    ):
        mallopt(option, value)
