"""Where the model runs and how precisely."""

import math
import re
import time
from dataclasses import dataclass

import torch

from app.errors import OptionError

TRIALS = 8
WORTHWHILE_SPEEDUP = 1.3  # below this the digits are worth more
INFERENCE_WORKERS_CUDA = 2  # one copies, one computes
MAX_INFERENCE_WORKERS_CPU = 8  # more would wait for Python's lock
THREADS_PER_WORKER = 4  # where there are more cores than lanes
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and the precision of the image tower on it."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The image tower's dtype."""
        return DTYPES[self.precision]


@dataclass(frozen=True, slots=True)
class InferenceWorkers:
    """How many batches the model works on at a time, and with how many threads each.

    Args:
        count: most batches at a time.
        threads: of each.
        threads_alone: of a batch beside which nothing runs, in the first lane, unless `threads`
            are faster (app/core/runtime/threads.py).
        own_cores: whether each computes on cores of its own, or all on one device in turn.
    """

    count: int
    threads: int
    threads_alone: int
    own_cores: bool = True


def choose_placement(device: str, precision: str, *, transformer: bool) -> Placement:
    """Resolve `auto` for the machine at hand.

    CUDA runs bf16 where it can, else fp16. A CPU whose bf16 instructions pay runs transformers in
    bf16; convolutional towers stay in fp32 there, whose probabilities do not depend on the batch
    (docs/adr/0003-precision.md).

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        transformer: whether the image tower is a transformer.

    Raises:
        OptionError: device or precision is none of these, the device is not there, or it cannot
            run the precision.
    """
    chosen = torch.device(_choose_device(device))
    if precision not in ("auto", *DTYPES):
        raise OptionError("precision", f"{precision!r} is none of auto, {', '.join(DTYPES)}")
    if precision != "auto":
        if precision == "fp16" and chosen.type == "cpu":
            raise OptionError("precision", "fp16 needs a GPU; use fp32 or bf16 on a CPU")
        return Placement(chosen, precision)
    if chosen.type == "cuda":
        return Placement(chosen, "bf16" if torch.cuda.is_bf16_supported() else "fp16")
    return Placement(chosen, "bf16" if transformer and _cpu_gains_from_bf16() else "fp32")


def choose_batch_size(placement: Placement, *, transformer: bool) -> int:
    """Up to how many images a batch gains more than it costs (docs/performance.md).

    On a CPU a convolution's outputs leave the caches with larger batches.

    Args:
        placement: where the model runs.
        transformer: whether the image tower is a transformer.
    """
    if placement.device.type == "cuda":
        return 64
    return 16 if transformer else 8


def choose_inference_workers(placement: Placement, cores: int) -> InferenceWorkers:
    """Share out a CPU's cores, or keep a GPU busy (docs/adr/0005-lanes.md).

    Args:
        placement: where the model runs.
        cores: of the CPU that this process may use.
    """
    if placement.device.type == "cuda":
        return InferenceWorkers(INFERENCE_WORKERS_CUDA, threads=1, threads_alone=1, own_cores=False)
    if cores <= MAX_INFERENCE_WORKERS_CPU:
        return InferenceWorkers(cores, threads=1, threads_alone=cores)
    lanes = min(cores // THREADS_PER_WORKER, MAX_INFERENCE_WORKERS_CPU)
    return InferenceWorkers(lanes, threads=cores // lanes, threads_alone=cores // lanes)


def use_own_stream(placement: Placement) -> None:
    """Let a GPU do the calling thread's work beside that of other threads; nothing on a CPU."""
    if placement.device.type == "cuda":
        torch.accelerator.set_stream(torch.Stream(placement.device))


def device_memory(device: torch.device) -> dict[str, int]:
    """How much of a GPU's memory is taken, in bytes; nothing of a CPU.

    Returns:
        `allocated` by this process's tensors, `reserved` for them by torch, `total` of the GPU.
    """
    if device.type != "cuda":
        return {}
    taken = torch.cuda.memory_stats_as_nested_dict(device)
    return {
        "allocated": taken["allocated_bytes"]["all"]["current"],
        "reserved": taken["reserved_bytes"]["all"]["current"],
        "total": torch.cuda.get_device_properties(device).total_memory,
    }


def _choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise OptionError("device", f"{device!r} is none of auto, cpu, cuda and cuda:N")
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise OptionError(
                "device", f"{device} is not there: {torch.cuda.device_count()} CUDA devices found"
            )
    return device


def _cpu_gains_from_bf16() -> bool:
    """Whether the CPU has bf16 instructions and they pay.

    With AMX they do; with AVX512-BF16 alone they do on some processors and not on others, so a
    matrix product of a ViT-B/32's size is timed in both.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")):
        return False
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    operands = {
        dtype: (torch.ones(128, 768, dtype=dtype), torch.ones(3072, 768, dtype=dtype))
        for dtype in seconds
    }
    for _ in range(TRIALS):
        for dtype, (rows, weights) in operands.items():
            started = time.perf_counter()
            torch.nn.functional.linear(rows, weights)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
    return seconds[torch.float32] > WORTHWHILE_SPEEDUP * seconds[torch.bfloat16]
