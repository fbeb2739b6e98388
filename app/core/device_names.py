"""The names of devices in settings and options; importing it does not import torch."""

import re

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
HINTS = {
    "gpu": "a GPU is cuda",
    "nvidia": "a GPU is cuda",
    "rocm": "an AMD GPU is cuda too",
    "hip": "an AMD GPU is cuda too",
    "mps": "Apple GPUs are not supported; use cpu",
    "cuda": "N is a number, as in cuda:0",
}


def find_device_problem(name: str) -> str | None:
    """Return what a device name must be, or None if it is one.

    Args:
        name: as given, such as `cuda:1`.
    """
    if DEVICE.fullmatch(name):
        return None
    kind = re.split(r"[^a-z]", name.strip().lower())[0]
    hint = f" ({HINTS[kind]})" if kind in HINTS else ""
    return f"must be auto, cpu, cuda or cuda:N{hint}"
