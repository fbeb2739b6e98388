"""Scores equal naive float64 implementations of the paper's formulas."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.core.model import scoring

COSINES = st.floats(-1, 1, width=32)
LOGIT_SCALES = st.floats(0, 4.625, width=32)  # temperatures down to 0.01
examples = settings(max_examples=50)


@st.composite
def cosine_matrices(draw: st.DrawFn) -> Tensor:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    values = draw(st.lists(COSINES, min_size=rows * columns, max_size=rows * columns))
    return torch.tensor(values).view(rows, columns)


def naive_logits(cosine: Tensor, logit_scale: float) -> np.ndarray:
    temperature = 1 / math.exp(logit_scale)
    return cosine.double().numpy() / temperature


def naive_softmax(cosine: Tensor, logit_scale: float) -> np.ndarray:
    exponents = np.exp(naive_logits(cosine, logit_scale))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


@examples
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=16))
def test_l2_normalize_keeps_direction(row: list[float]) -> None:
    found = scoring.l2_normalize(torch.tensor([row]))[0].double().numpy()
    length = np.linalg.norm(row)
    if length > 1e-6:
        np.testing.assert_allclose(found, np.array(row) / length, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-6)


def test_l2_normalize_keeps_zero_rows() -> None:
    assert scoring.l2_normalize(torch.zeros(1, 4)).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_l2_normalize_returns_float32(dtype: torch.dtype) -> None:
    row = scoring.l2_normalize(torch.full((1, 4), 300.0, dtype=dtype))
    assert row.dtype == torch.float32
    torch.testing.assert_close(row, torch.full((1, 4), 0.5))


def test_cosines_of_each_image_and_text() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    torch.testing.assert_close(
        scoring.cosines(images, texts), torch.tensor([[1.0, -1.0, 0.6], [0.0, 0.0, 0.8]])
    )


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_logits_are_cosines_divided_by_temperature(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.logits(cosine, logit_scale)
    np.testing.assert_allclose(found, naive_logits(cosine, logit_scale), rtol=1e-5, atol=1e-6)


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_sigmoid_of_logits_is_equation_2(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.logits(cosine, logit_scale).sigmoid()
    naive = 1 / (1 + np.exp(-naive_logits(cosine, logit_scale)))
    np.testing.assert_allclose(found, naive, atol=1e-5)


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_softmax_is_over_texts_of_one_image(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.softmax_logits(cosine, logit_scale).sigmoid()
    np.testing.assert_allclose(found, naive_softmax(cosine, logit_scale), atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(cosine)))


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_softmax_logits_are_log_odds(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.softmax_logits(cosine, logit_scale)
    exact = naive_logits(cosine, logit_scale)
    for row, column in np.ndindex(*cosine.shape):
        others = np.delete(exact[row], column)
        if len(others):
            wanted = exact[row, column] - np.logaddexp.reduce(others)
            assert found[row, column].item() == pytest.approx(wanted, rel=1e-5, abs=1e-4)


def test_softmax_logits_of_single_text_are_finite() -> None:
    found = scoring.softmax_logits(torch.tensor([[0.3], [-0.3]]), 3.0)
    assert torch.isfinite(found).all()
    assert found.sigmoid().tolist() == [[1.0], [1.0]]


@examples
@given(cosine_matrices(), COSINES, LOGIT_SCALES)
def test_sigmoid_of_pair_logits_is_softmax_of_two(
    cosine: Tensor, background: float, logit_scale: float
) -> None:
    backgrounds = torch.full((len(cosine), 1), background)
    found = scoring.pair_logits(cosine, backgrounds, logit_scale).sigmoid()
    for row, column in np.ndindex(*cosine.shape):
        pair = torch.tensor([[cosine[row, column].item(), background]])
        wanted = naive_softmax(pair, logit_scale)[0, 0]
        assert found[row, column].item() == pytest.approx(wanted, abs=1e-5)


def test_pair_logits_use_background_of_same_image() -> None:
    cosine, background = torch.tensor([[0.3], [0.3]]), torch.tensor([[0.3], [0.1]])
    even, above = scoring.pair_logits(cosine, background, 3.0)[:, 0].tolist()
    assert even == 0
    assert above == pytest.approx(0.2 * math.exp(3), rel=1e-6)


METHODS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": scoring.logits,
    "softmax": scoring.softmax_logits,
    "pair": lambda cosine, scale: scoring.pair_logits(cosine, torch.zeros(len(cosine), 1), scale),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("middle", [0.3, -0.3])
def test_logits_separate_equal_probabilities(
    method: Callable[[Tensor, float], Tensor], middle: float
) -> None:
    other_text = torch.zeros(3, 1)
    cosine = torch.cat([torch.tensor([[middle], [middle + 0.01], [middle - 0.01]]), other_text], 1)
    found = method(cosine, math.log(400))[:, 0]
    assert found.sigmoid().tolist() == [float(middle > 0)] * 3
    assert found.argsort(descending=True).tolist() == [1, 0, 2]


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_logits_rank_texts_of_image_by_cosine(cosine: Tensor, logit_scale: float) -> None:
    for method in METHODS.values():
        scores = method(cosine, logit_scale).double()
        for row, values in zip(cosine.double(), scores, strict=True):
            below = row[:, None] < row - 1e-5
            assert bool((values[:, None] < values)[below].all())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@examples
@given(cosine=cosine_matrices(), logit_scale=st.floats(-20, 80, width=32))
def test_logits_are_finite_at_any_temperature(
    method: Callable[[Tensor, float], Tensor], cosine: Tensor, logit_scale: float
) -> None:
    found = method(cosine, logit_scale)
    assert found.dtype == torch.float32
    assert found.shape == cosine.shape
    assert bool(torch.isfinite(found).all())


def test_ranked_texts_are_ordered_by_logit() -> None:
    assert scoring.rank_texts(torch.tensor([20.0, -200.0, 30.0, -150.0, 30.0])) == [
        (2, 1.0),
        (4, 1.0),
        (0, 1.0),
        (3, 0.0),
        (1, 0.0),
    ]


def test_logit_scale_may_be_parameter() -> None:
    cosine = torch.tensor([[0.25, -0.5]])
    parameter = torch.nn.Parameter(torch.tensor(math.log(50)))
    with torch.inference_mode():
        torch.testing.assert_close(scoring.logits(cosine, parameter), torch.tensor([[12.5, -25.0]]))
