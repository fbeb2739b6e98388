"""Formats measurements as Markdown tables of medians and ranges."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from benchmarks.support.load import LoadResult
from benchmarks.throughput.ceiling import Ceiling


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests that are sent to a system.

    Args:
        megapixels: size of each photo.
        images: photos per request.
        concurrency: requests in flight.
    """

    megapixels: float
    images: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a system under a workload.

    Args:
        checkpoint: name of the checkpoint.
        system: name of the system.
        repeat: number of the repeat, from 0.
        workload: the requests.
        ceiling: mean of the ceilings before and after it.
        result: what the client measured.
    """

    checkpoint: str
    system: str
    repeat: int
    workload: Workload
    ceiling: Ceiling
    result: LoadResult


HEADER = (
    "| system | photo, MP | images per request | concurrency | images/s | of the ceiling "
    "| one image alone, ms | p50, ms | p95, ms | p99, ms | CPU s per image | memory, MiB |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
LEGEND = (
    "images/s is the median of the repeats (lowest to highest); the other columns are medians. "
    "benchmarks/throughput/ceiling.py measures the ceiling, and the time of one image alone, "
    "without HTTP, just before and after each measurement. Latency is per request. "
    "CPU seconds are those of the server's process tree, without the client's. Memory is the sum "
    "of the tree's PSS at the end of a measurement."
)


def table(measurements: Sequence[Measurement]) -> str:
    """Return a section per checkpoint, with a row per workload and system.

    Args:
        measurements: of all checkpoints; sections and workloads keep their order.
    """
    sections = []
    for checkpoint in dict.fromkeys(each.checkpoint for each in measurements):
        own = [each for each in measurements if each.checkpoint == checkpoint]
        sections.append(
            "\n".join([f"## {checkpoint}", "", *_ceilings(own), "", HEADER, *_rows(own)])
        )
    return "\n\n".join([*sections, LEGEND]) + "\n"


def _ceilings(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield a list item for each size of photo."""
    for size in dict.fromkeys(each.workload.megapixels for each in measurements):
        ceilings = [each.ceiling for each in measurements if each.workload.megapixels == size]
        throughputs = [ceiling.images_per_second for ceiling in ceilings]
        yield (
            f"- Ceiling at {size:g} MP: {median(throughputs):.1f} images/s "
            f"({min(throughputs):.1f}-{max(throughputs):.1f}); the model alone "
            f"{median(each.model_images_per_second for each in ceilings):.1f}; one image alone "
            f"{median(each.latency_ms for each in ceilings):.1f} ms. Batches of "
            f"{ceilings[0].batch_size}, {ceilings[0].decoder} decoder."
        )


def _rows(measurements: Sequence[Measurement]) -> Iterator[str]:
    for workload in dict.fromkeys(each.workload for each in measurements):
        requests = f"{workload.megapixels:g} | {workload.images} | {workload.concurrency}"
        same = [each for each in measurements if each.workload == workload]
        for system in sorted({each.system for each in same}):
            repeats = [each for each in same if each.system == system]
            yield f"| {system} | {requests} | {_figures(repeats)} |"


def _figures(repeats: Sequence[Measurement]) -> str:
    """Return the measured columns of a row; a single error voids it."""
    results = [each.result for each in repeats]
    if errors := [result.first_error for result in results if result.errors]:
        return f"void: {errors[0][:80].replace('|', ' ')}" + " |" * 7
    throughputs = [result.images_per_second for result in results]
    share = median(
        each.result.images_per_second / each.ceiling.images_per_second for each in repeats
    )
    return " | ".join(
        [
            f"{median(throughputs):.1f} ({min(throughputs):.1f}-{max(throughputs):.1f})",
            f"{share:.0%}",
            f"{median(each.ceiling.latency_ms for each in repeats):.1f}",
            f"{median(result.p50_ms for result in results):.0f}",
            f"{median(result.p95_ms for result in results):.0f}",
            f"{median(result.p99_ms for result in results):.0f}",
            f"{median(result.cpu_seconds_per_image for result in results):.4f}",
            f"{median(result.memory_mib for result in results):.0f}",
        ]
    )


def machine(distributions: Sequence[str]) -> str:
    """Describe the machine and the installed software.

    Args:
        distributions: installed distributions whose versions are listed.
    """
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(": ")[1] for line in info if line.startswith("model name")), "CPU")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in distributions)
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}; "
        f"{torch.get_num_threads()} torch threads per process, fp32."
    )
