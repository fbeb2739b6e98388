"""Where the model runs, on the machine at hand."""

import pytest
import torch

from app.core.runtime import InferenceWorkers, Placement, choose_inference_workers, choose_placement
from app.errors import OptionError

CUDA_DEVICES = torch.cuda.device_count()
CPU_HAS_BF16 = any(torch.cpu.get_capabilities().get(name) for name in ("amx_bf16", "avx512_bf16"))
CPU_PRECISIONS = {"fp32", "bf16"} if CPU_HAS_BF16 else {"fp32"}  # bf16 where it pays


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    placement = choose_placement("auto", "auto", transformer=True)
    if CUDA_DEVICES:
        assert placement.device.type == "cuda"
        assert placement.precision in {"bf16", "fp16"}
    else:
        assert placement.device.type == "cpu"
        assert placement.precision in CPU_PRECISIONS


def test_a_cpu_without_bf16_instructions_runs_fp32() -> None:
    placement = choose_placement("cpu", "auto", transformer=True)
    assert placement.device.type == "cpu"
    assert placement.precision in CPU_PRECISIONS


def test_a_cpu_runs_convolutions_in_fp32() -> None:
    placement = choose_placement("cpu", "auto", transformer=False)
    assert placement == Placement(torch.device("cpu"), "fp32")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("transformer", [False, True])
def test_a_given_precision_is_taken(precision: str, dtype: torch.dtype, transformer: bool) -> None:
    placement = choose_placement("cpu", precision, transformer=transformer)
    assert (placement.device.type, placement.dtype) == ("cpu", dtype)


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU; use fp32 or bf16 on a CPU") as caught:
        choose_placement("cpu", "fp16", transformer=True)
    assert caught.value.field == "precision"


def test_a_gpu_is_taken_where_it_is_and_refused_where_it_is_not() -> None:
    for name in ("cuda", "cuda:0"):
        if CUDA_DEVICES:
            assert choose_placement(name, "fp16", transformer=True).dtype == torch.float16
        else:
            with pytest.raises(OptionError, match=f"{name} is not there: 0 CUDA devices") as caught:
                choose_placement(name, "auto", transformer=True)
            assert caught.value.field == "device"


@pytest.mark.parametrize(
    ("device", "precision", "problem"),
    [
        ("gpu", "auto", "'gpu' is none of auto, cpu, cuda and cuda:N"),
        ("cuda:x", "auto", "'cuda:x' is none of"),
        ("cpu", "half", "'half' is none of auto, fp32, bf16, fp16"),
    ],
)
def test_a_device_or_precision_that_is_none_is_refused(
    device: str, precision: str, problem: str
) -> None:
    with pytest.raises(OptionError, match=problem):
        choose_placement(device, precision, transformer=False)


def test_a_gpu_beyond_the_last_is_refused() -> None:
    with pytest.raises(OptionError, match=f"cuda:{CUDA_DEVICES} is not there"):
        choose_placement(f"cuda:{CUDA_DEVICES}", "auto", transformer=True)


@pytest.mark.parametrize(
    ("device", "cores", "lanes"),
    [
        ("cpu", 1, InferenceWorkers(1, threads=1, threads_alone=1)),
        ("cpu", 2, InferenceWorkers(2, threads=1, threads_alone=2)),
        ("cpu", 8, InferenceWorkers(8, threads=1, threads_alone=8)),
        ("cpu", 16, InferenceWorkers(4, threads=4, threads_alone=4)),
        ("cpu", 64, InferenceWorkers(8, threads=8, threads_alone=8)),
        ("cuda", 16, InferenceWorkers(2, threads=1, threads_alone=1, own_cores=False)),
    ],
)
def test_lanes_share_out_the_cores(device: str, cores: int, lanes: InferenceWorkers) -> None:
    assert choose_inference_workers(Placement(torch.device(device), "fp32"), cores) == lanes
