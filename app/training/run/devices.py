"""The devices that a run trains on, and how precisely they reckon."""

from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy

from app.errors import OptionError
from app.training import config

# One process validates or decodes while the others wait.
LONGEST_WAIT = timedelta(hours=12)


def make_fabric(device: torch.device, precision: config.Precision, devices: int = 1) -> Fabric:
    """Devices of one machine, not launched yet.

    Args:
        device: the CPU, a GPU, or `cuda` without a number for the first ones.
        precision: of the towers' arithmetic.
        devices: how many; each runs a process of its own (DDP).

    Raises:
        OptionError: there are not as many.
    """
    plugin = _precision(device, precision)
    if devices == 1:
        index = [device.index or 0] if device.type == "cuda" else 1
        return Fabric(accelerator=device.type, devices=index, plugins=[plugin])
    if device.type == "cuda" and (device.index or devices > torch.cuda.device_count()):
        raise OptionError(
            "devices",
            f"{devices} are not there from {device} on; "
            f"{torch.cuda.device_count()} CUDA devices were found, counted from cuda:0",
        )
    strategy = DDPStrategy(timeout=LONGEST_WAIT)
    return Fabric(accelerator=device.type, devices=devices, strategy=strategy, plugins=[plugin])


def _precision(device: torch.device, precision: config.Precision) -> Precision:
    if precision == "fp32":
        return Precision()
    if precision == "fp16" and device.type == "cpu":
        raise OptionError("precision", "fp16 needs a GPU; use fp32 or bf16 on a CPU")
    kind: Literal["bf16-mixed", "16-mixed"] = "bf16-mixed" if precision == "bf16" else "16-mixed"
    return MixedPrecision(kind, device.type)
