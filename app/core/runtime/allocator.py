"""Settings of the memory allocator."""

import ctypes

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
THRESHOLD_BYTES = 2**30


def keep_freed_memory() -> None:
    """Make glibc's malloc reuse freed memory; no effect with another C library.

    By default, glibc returns every large block to the kernel. The activations of a model are large
    blocks, so the kernel would map and clear their pages again for every layer of every batch.
    There is one arena, since the arenas of threads cannot hold blocks of this size. Call this
    before threads start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    for option, value in (
        (M_MMAP_THRESHOLD, THRESHOLD_BYTES),
        (M_TRIM_THRESHOLD, THRESHOLD_BYTES),
        (M_ARENA_MAX, 1),
    ):
        mallopt(option, value)
