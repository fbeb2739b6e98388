"""The devices that a run trains on, and the precision of their arithmetic."""

from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy

from app.errors import OptionError
from app.training import config

# A collective operation waits while one process validates or decodes photos.
COLLECTIVE_TIMEOUT = timedelta(hours=12)


def create_fabric(device: torch.device, precision: config.Precision, devices: int = 1) -> Fabric:
    """Create a Fabric over devices of one machine, without launching its processes.

    Args:
        device: the CPU, a GPU, or `cuda` without a number for the first GPUs.
        precision: of the towers' arithmetic.
        devices: number of devices; each has its own process (DDP).

    Raises:
        OptionError: the machine has fewer devices, or they cannot run the precision.
    """
    plugin = _precision_plugin(device, precision)
    if devices == 1:
        index = [device.index or 0] if device.type == "cuda" else 1
        return Fabric(accelerator=device.type, devices=index, plugins=[plugin])
    if device.type == "cuda" and (device.index or devices > torch.cuda.device_count()):
        raise OptionError(
            "devices",
            f"{devices} are not available from {device} on; "
            f"{torch.cuda.device_count()} CUDA devices were found, counted from cuda:0",
        )
    strategy = DDPStrategy(timeout=COLLECTIVE_TIMEOUT)
    return Fabric(accelerator=device.type, devices=devices, strategy=strategy, plugins=[plugin])


def _precision_plugin(device: torch.device, precision: config.Precision) -> Precision:
    if precision == "fp32":
        return Precision()
    if precision == "fp16" and device.type == "cpu":
        raise OptionError("precision", "fp16 needs a GPU; use fp32 or bf16 on a CPU")
    kind: Literal["bf16-mixed", "16-mixed"] = "bf16-mixed" if precision == "bf16" else "16-mixed"
    return MixedPrecision(kind, device.type)
