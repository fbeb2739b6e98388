"""Measured cells -> a table of medians and spreads, in Markdown."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from benchmarks.support.load import Load
from benchmarks.throughput.ceiling import Ceiling


@dataclass(frozen=True, slots=True)
class Cell:
    """What is asked of a system.

    Args:
        megapixels: of each photo.
        images: in each request.
        concurrency: requests in flight.
    """

    megapixels: float
    images: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement of one cell.

    Args:
        checkpoint: its name.
        system: its name.
        repeat: its number, from 0.
        cell: what was asked.
        ceiling: the same without HTTP, just before and after.
        load: what came of it.
    """

    checkpoint: str
    system: str
    repeat: int
    cell: Cell
    ceiling: Ceiling
    load: Load


HEAD = (
    "| system | photo, MP | images a request | concurrency | images/s | of the ceiling "
    "| one image alone, ms | p50, ms | p95, ms | p99, ms | CPU s an image | memory, MiB |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
LEGEND = (
    "images/s is the median of the repeats (lowest to highest); the other columns are medians. "
    "The ceiling, and the time of one image alone, are what benchmarks/throughput/ceiling.py finds "
    "without HTTP, just before and after each cell. Latency is of whole requests. "
    "CPU seconds are those of the server's process tree, without the client's. Memory is the sum "
    "of the tree's PSS at the end of a cell."
)


def table(rows: Sequence[Measured]) -> str:
    """A section for each checkpoint, lines in the order of first measurement, by cell."""
    sections = []
    for checkpoint in dict.fromkeys(row.checkpoint for row in rows):
        lines = _lines([row for row in rows if row.checkpoint == checkpoint])
        ceilings = _ceilings([row for row in rows if row.checkpoint == checkpoint])
        sections.append("\n".join([f"## {checkpoint}", "", *ceilings, "", HEAD, *lines]))
    return "\n\n".join([*sections, LEGEND]) + "\n"


def _ceilings(rows: Sequence[Measured]) -> Iterator[str]:
    """A line for each size of photo: what the machine gives without HTTP."""
    for size in dict.fromkeys(row.cell.megapixels for row in rows):
        every = [row.ceiling for row in rows if row.cell.megapixels == size]
        paces = [ceiling.images_per_second for ceiling in every]
        yield (
            f"- Ceiling at {size:g} MP: {median(paces):.1f} images/s "
            f"({min(paces):.1f}-{max(paces):.1f}); the model alone "
            f"{median(each.model_images_per_second for each in every):.1f}; one image alone "
            f"{median(each.latency_ms for each in every):.1f} ms. Batches of "
            f"{every[0].batch_size}, {every[0].decoder} decoder."
        )


def _lines(rows: Sequence[Measured]) -> Iterator[str]:
    for cell in dict.fromkeys(row.cell for row in rows):
        asked = f"{cell.megapixels:g} | {cell.images} | {cell.concurrency}"
        for system in sorted({row.system for row in rows if row.cell == cell}):
            found = [row for row in rows if (row.cell, row.system) == (cell, system)]
            yield f"| {system} | {asked} | {_figures(found)} |"


def _figures(repeats: Sequence[Measured]) -> str:
    """The measured columns of one line; a single error voids it."""
    if errors := [row.load.first_error for row in repeats if row.load.errors]:
        return f"void: {errors[0][:80].replace('|', ' ')}" + " |" * 7
    loads = [row.load for row in repeats]
    paces = [load.images_per_second for load in loads]
    share = median(row.load.images_per_second / row.ceiling.images_per_second for row in repeats)
    return " | ".join(
        [
            f"{median(paces):.1f} ({min(paces):.1f}-{max(paces):.1f})",
            f"{share:.0%}",
            f"{median(row.ceiling.latency_ms for row in repeats):.1f}",
            f"{median(load.p50_ms for load in loads):.0f}",
            f"{median(load.p95_ms for load in loads):.0f}",
            f"{median(load.p99_ms for load in loads):.0f}",
            f"{median(load.cpu_seconds_per_image for load in loads):.4f}",
            f"{median(load.memory_mib for load in loads):.0f}",
        ]
    )


def machine(distributions: Sequence[str]) -> str:
    """Where and with what it was measured.

    Args:
        distributions: installed ones whose versions are named.
    """
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(": ")[1] for line in info if line.startswith("model name")), "CPU")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in distributions)
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}; "
        f"{torch.get_num_threads()} threads of torch a process, fp32."
    )
