"""Device, precision, batch size and inference workers."""

import math
import time
from dataclasses import dataclass

import torch

from app.core.device_names import find_device_problem
from app.errors import OptionError

BF16_TRIALS = 8
MIN_BF16_SPEEDUP = 1.3  # a smaller speedup does not justify the loss of precision
INFERENCE_WORKERS_CUDA = 2  # one copies while the other computes
MAX_INFERENCE_WORKERS_CPU = 8  # more would contend for the GIL
THREADS_PER_WORKER = 4  # if there are more cores than workers
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of the model and the precision of its image tower: fp32, bf16 or fp16."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The image tower's dtype."""
        return DTYPES[self.precision]


@dataclass(frozen=True, slots=True)
class InferenceWorkers:
    """The number of concurrent model calls, and the CPU threads of each call.

    Args:
        count: maximum number of concurrent model calls.
        threads: CPU threads per call.
        threads_single_image: CPU threads for a single in-flight image, unless `threads` is faster
            (see `SingleImageThreads`).
        dedicated_cores: whether each worker has its own CPU cores; False if all share one GPU.
    """

    count: int
    threads: int
    threads_single_image: int
    dedicated_cores: bool = True


def choose_placement(device: str, precision: str, *, transformer: bool) -> Placement:
    """Resolve `auto` for this machine.

    A GPU runs bf16 if it supports it, else fp16. A CPU runs transformers in bf16 if its bf16
    instructions are faster. Convolutional towers run in fp32 on a CPU, since their probabilities
    would depend on the batch in bf16 (docs/adr/0003-precision.md).

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        transformer: whether the image tower is a transformer.

    Raises:
        OptionError: the device or precision is unknown, the device is not available, or it does not
            support the precision.
    """
    chosen = torch.device(_choose_device(device))
    if precision not in ("auto", *DTYPES):
        raise OptionError("precision", f"{precision!r} is not one of auto, {', '.join(DTYPES)}")
    if precision != "auto":
        if precision == "fp16" and chosen.type == "cpu":
            raise OptionError("precision", "fp16 needs a GPU; use fp32 or bf16 on a CPU")
        return Placement(chosen, precision)
    if chosen.type == "cuda":
        return Placement(chosen, "bf16" if torch.cuda.is_bf16_supported() else "fp16")
    return Placement(chosen, "bf16" if transformer and _cpu_gains_from_bf16() else "fp32")


def choose_batch_size(placement: Placement, *, transformer: bool) -> int:
    """Choose the maximum batch size (docs/performance.md).

    On a CPU, the outputs of convolutions do not fit into the caches with larger batches.

    Args:
        placement: device and precision of the model.
        transformer: whether the image tower is a transformer.
    """
    if placement.device.type == "cuda":
        return 64
    return 16 if transformer else 8


def choose_inference_workers(placement: Placement, cores: int) -> InferenceWorkers:
    """Divide the cores of a CPU among workers, or keep a GPU busy.

    docs/adr/0005-inference-workers.md has the reasons.

    Args:
        placement: device and precision of the model.
        cores: CPU cores that this process may use.
    """
    if placement.device.type == "cuda":
        return InferenceWorkers(
            INFERENCE_WORKERS_CUDA, threads=1, threads_single_image=1, dedicated_cores=False
        )
    if cores <= MAX_INFERENCE_WORKERS_CPU:
        return InferenceWorkers(cores, threads=1, threads_single_image=cores)
    workers = min(cores // THREADS_PER_WORKER, MAX_INFERENCE_WORKERS_CPU)
    threads = cores // workers
    return InferenceWorkers(workers, threads=threads, threads_single_image=threads)


def use_own_stream(placement: Placement) -> None:
    """Give the calling thread its own CUDA stream; no effect on a CPU."""
    if placement.device.type == "cuda":
        torch.accelerator.set_stream(torch.Stream(placement.device))


def device_memory(device: torch.device) -> dict[str, int]:
    """Return the memory use of a GPU in bytes; empty for a CPU.

    Returns:
        `allocated` by tensors of this process, `reserved` by torch's allocator, `total` of the GPU.
    """
    if device.type != "cuda":
        return {}
    stats = torch.cuda.memory_stats_as_nested_dict(device)
    return {
        "allocated": stats["allocated_bytes"]["all"]["current"],
        "reserved": stats["reserved_bytes"]["all"]["current"],
        "total": torch.cuda.get_device_properties(device).total_memory,
    }


def _choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if problem := find_device_problem(device):
        raise OptionError("device", f"{problem}, got {device!r}")
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise OptionError(
                "device",
                f"{device} is not available: {torch.cuda.device_count()} CUDA devices found",
            )
    return device


def _cpu_gains_from_bf16() -> bool:
    """Return whether the CPU has bf16 instructions that are faster than fp32.

    This is always so with AMX, but not on all processors with AVX512-BF16 alone. Therefore a matrix
    product of the size in a ViT-B/32 is timed in both precisions.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")):
        return False
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    operands = {
        dtype: (torch.ones(128, 768, dtype=dtype), torch.ones(3072, 768, dtype=dtype))
        for dtype in seconds
    }
    for _ in range(BF16_TRIALS):
        for dtype, (rows, weights) in operands.items():
            started = time.perf_counter()
            torch.nn.functional.linear(rows, weights)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
    return seconds[torch.float32] > MIN_BF16_SPEEDUP * seconds[torch.bfloat16]
