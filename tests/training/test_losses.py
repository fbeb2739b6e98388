"""The loss and its further terms compared with naive loops, PyTorch's and papers' formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from app.training.objective.losses import (
    hierarchy_penalty,
    tempered_bce,
    unknown_loss,
)

UNKNOWN = -1.0


def naive_loss(cosines: Tensor, targets: Tensor, logit_scale: float, weights: Tensor) -> float:
    losses = []
    for i in range(cosines.shape[0]):
        for j in range(cosines.shape[1]):
            y = targets[i, j].item()
            if y < 0:
                continue
            s = 1 / (1 + math.exp(-cosines[i, j].item() * math.exp(logit_scale)))
            losses.append(-(weights[j].item() * y * math.log(s) + (1 - y) * math.log(1 - s)))
    return sum(losses) / len(losses) if losses else 0.0


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, float, Tensor]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    size = rows * columns
    cosine = draw(st.lists(st.floats(-1, 1, width=32), min_size=size, max_size=size))
    value = st.sampled_from([0.0, 1.0, UNKNOWN, 0.25])
    target = draw(st.lists(value, min_size=size, max_size=size))
    weight = draw(st.lists(st.floats(0.125, 20, width=32), min_size=columns, max_size=columns))
    return (
        torch.tensor(cosine).view(rows, columns),
        torch.tensor(target).view(rows, columns),
        draw(st.floats(0, 3)),
        torch.tensor(weight),
    )


@given(problems())
def test_loss_equals_naive_loops(problem: tuple[Tensor, Tensor, float, Tensor]) -> None:
    cosine, targets, logit_scale, weights = problem
    loss = tempered_bce(cosine, targets, torch.tensor(logit_scale), weights)
    assert loss.item() == pytest.approx(naive_loss(*problem), rel=1e-4, abs=1e-5)


def test_loss_without_unknown_pairs_equals_torch_bce() -> None:
    generator = torch.Generator().manual_seed(0)
    cosine = torch.rand((16, 7), generator=generator) * 2 - 1
    targets = (torch.rand((16, 7), generator=generator) < 0.3).float()
    weights = torch.rand(7, generator=generator) * 10 + 0.1
    logit_scale = torch.tensor(3.652)
    expected = nn.BCEWithLogitsLoss(pos_weight=weights)(cosine * logit_scale.exp(), targets)
    torch.testing.assert_close(tempered_bce(cosine, targets, logit_scale, weights), expected)


@pytest.mark.parametrize("presence", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("logit_scale", [0.0, 2.659, 4.605])
def test_gradient_equals_equation_3(presence: float, logit_scale: float) -> None:
    cosine = torch.linspace(-1, 1, 41).view(-1, 1).requires_grad_()
    targets = torch.full((41, 1), presence)
    scale = torch.tensor(logit_scale)
    torch.autograd.backward(tempered_bce(cosine, targets, scale, torch.ones(1)) * 41)
    expected = scale.exp() * (torch.sigmoid(cosine.detach() * scale.exp()) - presence)
    assert cosine.grad is not None
    torch.testing.assert_close(cosine.grad, expected, rtol=1e-4, atol=1e-4)


def test_unknown_pairs_are_masked() -> None:
    targets = torch.tensor([[1.0, UNKNOWN], [0.0, UNKNOWN]])
    weights = torch.tensor([10.0, 3.0])
    losses = [
        tempered_bce(torch.tensor([[0.3, x], [0.1, -x]]), targets, torch.tensor(3.0), weights)
        for x in (0.9, -0.4)
    ]
    known = tempered_bce(
        torch.tensor([[0.3], [0.1]]), targets[:, :1], torch.tensor(3.0), weights[:1]
    )
    assert losses == [known, known]


def test_loss_without_known_pairs_is_zero_and_differentiable() -> None:
    cosine = torch.zeros((2, 3), requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    loss = tempered_bce(cosine, torch.full((2, 3), UNKNOWN), scale, torch.ones(3))
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
    assert cosine.grad is not None and scale.grad is not None
    assert cosine.grad.abs().sum() == 0.0


def test_confident_error_has_finite_loss_in_bf16() -> None:
    cosine = torch.tensor([[-1.0, 1.0]], dtype=torch.bfloat16)
    loss = tempered_bce(cosine, torch.tensor([[1.0, 0.0]]), torch.tensor(6.0), torch.ones(2))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.exp(6.0), rel=1e-3)


ZERO, ONE = torch.zeros(()), torch.ones(())


def test_negative_loss_is_that_of_absent_labels() -> None:
    cosine = torch.rand((4, 3), generator=torch.Generator().manual_seed(0)) * 2 - 1
    scale, weights = torch.tensor(2.0), torch.full((3,), 10.0)
    absent = tempered_bce(cosine, torch.zeros(4, 3), scale, weights)
    every = torch.ones((4, 3), dtype=torch.bool)
    found = unknown_loss(cosine, every, scale, torch.tensor(12))
    torch.testing.assert_close(found, absent)


def test_unknown_loss_counts_marked_pairs_only() -> None:
    marked = torch.tensor([[True, False]])
    losses = [
        unknown_loss(torch.tensor([[0.3, other]]), marked, torch.tensor(1.0), ONE)
        for other in (0.9, -0.4)
    ]
    assert losses[0] == losses[1] != 0
    nothing = torch.zeros((1, 2), dtype=torch.bool)
    assert unknown_loss(torch.ones(1, 2), nothing, ZERO, ONE) == 0


def test_hierarchy_penalty_counts_violations_only() -> None:
    children, parents = torch.tensor([0, 0]), torch.tensor([1, 2])
    p = torch.tensor([[0.9, 0.4, 0.95]])
    found = hierarchy_penalty(torch.logit(p), children, parents)
    assert found.item() == pytest.approx((0.9 - 0.4) ** 2 / 2, rel=1e-5)
    consistent = torch.tensor([[-1.0, -1.0, 2.0]])
    assert hierarchy_penalty(consistent, children, parents) == 0


def test_hierarchy_penalty_raises_parent_and_lowers_child() -> None:
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    torch.autograd.backward(hierarchy_penalty(x, torch.tensor([0]), torch.tensor([1])))
    assert x.grad is not None
    child, parent = x.grad[0]
    assert child > 0 > parent
