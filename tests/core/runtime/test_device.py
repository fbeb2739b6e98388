"""Choice of device, precision and inference workers on this machine."""

import pytest
import torch

from app.core.runtime import InferenceWorkers, Placement, choose_inference_workers, choose_placement
from app.errors import OptionError

CUDA_DEVICES = torch.cuda.device_count()
CPU_HAS_BF16 = any(torch.cpu.get_capabilities().get(name) for name in ("amx_bf16", "avx512_bf16"))
CPU_PRECISIONS = {"fp32", "bf16"} if CPU_HAS_BF16 else {"fp32"}  # bf16 only if it is faster


def test_auto_chooses_available_gpu() -> None:
    placement = choose_placement("auto", "auto", transformer=True)
    if CUDA_DEVICES:
        assert placement.device.type == "cuda"
        assert placement.precision in {"bf16", "fp16"}
    else:
        assert placement.device.type == "cpu"
        assert placement.precision in CPU_PRECISIONS


def test_cpu_without_bf16_instructions_runs_fp32() -> None:
    placement = choose_placement("cpu", "auto", transformer=True)
    assert placement.device.type == "cpu"
    assert placement.precision in CPU_PRECISIONS


def test_cpu_runs_convolutions_in_fp32() -> None:
    placement = choose_placement("cpu", "auto", transformer=False)
    assert placement == Placement(torch.device("cpu"), "fp32")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("transformer", [False, True])
def test_given_precision_is_used(precision: str, dtype: torch.dtype, transformer: bool) -> None:
    placement = choose_placement("cpu", precision, transformer=transformer)
    assert (placement.device.type, placement.dtype) == ("cpu", dtype)


def test_fp16_on_cpu_raises() -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU; use fp32 or bf16 on a CPU") as caught:
        choose_placement("cpu", "fp16", transformer=True)
    assert caught.value.field == "precision"


def test_gpu_is_used_if_available_and_raises_otherwise() -> None:
    for name in ("cuda", "cuda:0"):
        if CUDA_DEVICES:
            assert choose_placement(name, "fp16", transformer=True).dtype == torch.float16
        else:
            with pytest.raises(
                OptionError, match=f"{name} is not available: 0 CUDA devices"
            ) as caught:
                choose_placement(name, "auto", transformer=True)
            assert caught.value.field == "device"


@pytest.mark.parametrize(
    ("device", "precision", "problem"),
    [
        ("gpu", "auto", r"must be auto, cpu, cuda or cuda:N \(a GPU is cuda\), got 'gpu'"),
        ("cuda:x", "auto", r"\(N is a number, as in cuda:0\), got 'cuda:x'"),
        ("cpu", "half", "'half' is not one of auto, fp32, bf16, fp16"),
    ],
)
def test_unknown_device_or_precision_raises(device: str, precision: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        choose_placement(device, precision, transformer=False)


def test_gpu_index_beyond_last_raises() -> None:
    with pytest.raises(OptionError, match=f"cuda:{CUDA_DEVICES} is not available"):
        choose_placement(f"cuda:{CUDA_DEVICES}", "auto", transformer=True)


@pytest.mark.parametrize(
    ("device", "cores", "workers"),
    [
        ("cpu", 1, InferenceWorkers(1, threads=1, threads_single_image=1)),
        ("cpu", 2, InferenceWorkers(2, threads=1, threads_single_image=2)),
        ("cpu", 8, InferenceWorkers(8, threads=1, threads_single_image=8)),
        ("cpu", 16, InferenceWorkers(4, threads=4, threads_single_image=4)),
        ("cpu", 64, InferenceWorkers(8, threads=8, threads_single_image=8)),
        ("cuda", 16, InferenceWorkers(2, threads=1, threads_single_image=1, dedicated_cores=False)),
    ],
)
def test_inference_workers_divide_cores(device: str, cores: int, workers: InferenceWorkers) -> None:
    assert choose_inference_workers(Placement(torch.device(device), "fp32"), cores) == workers
