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
def test_tempered_sigmoid_is_equation_2(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.tempered_sigmoid(cosine, logit_scale)
    naive = 1 / (1 + np.exp(-naive_logits(cosine, logit_scale)))
    np.testing.assert_allclose(found, naive, atol=1e-5)


@examples
@given(cosine_matrices(), LOGIT_SCALES)
def test_softmax_is_over_texts_of_one_image(cosine: Tensor, logit_scale: float) -> None:
    found = scoring.softmax(cosine, logit_scale)
    np.testing.assert_allclose(found, naive_softmax(cosine, logit_scale), atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(cosine)))


@examples
@given(cosine_matrices(), COSINES, LOGIT_SCALES)
def test_pair_softmax_equals_softmax_of_two_logits(
    cosine: Tensor, background: float, logit_scale: float
) -> None:
    found = scoring.pair_softmax(cosine, torch.full((len(cosine), 1), background), logit_scale)
    for row, column in np.ndindex(*cosine.shape):
        pair = torch.tensor([[cosine[row, column].item(), background]])
        wanted = naive_softmax(pair, logit_scale)[0, 0]
        assert found[row, column].item() == pytest.approx(wanted, abs=1e-5)


def test_pair_softmax_uses_background_of_same_image() -> None:
    cosine, background = torch.tensor([[0.3], [0.3]]), torch.tensor([[0.3], [0.1]])
    even, above = scoring.pair_softmax(cosine, background, 3.0)[:, 0].tolist()
    assert even == pytest.approx(0.5)
    assert above > 0.9


@examples
@given(COSINES, COSINES, LOGIT_SCALES)
def test_scores_are_monotonic_in_cosine(a: float, b: float, logit_scale: float) -> None:
    low, high = sorted((a, b))
    scores = scoring.tempered_sigmoid(torch.tensor([[low, high]]), logit_scale)[0]
    assert scores[0] <= scores[1]
    torch.testing.assert_close(
        scoring.tempered_sigmoid(torch.tensor([[-low]]), logit_scale)[0, 0], 1 - scores[0]
    )


@pytest.mark.parametrize("score", [scoring.tempered_sigmoid, scoring.softmax])
@examples
@given(cosine=cosine_matrices(), logit_scale=st.floats(-20, 80, width=32))
def test_scores_are_probabilities_at_any_temperature(
    score: Callable[[Tensor, float], Tensor], cosine: Tensor, logit_scale: float
) -> None:
    found = score(cosine, logit_scale)
    assert found.dtype == torch.float32
    assert found.shape == cosine.shape
    assert bool(((found >= 0) & (found <= 1)).all())


def test_logit_scale_may_be_parameter() -> None:
    cosine = torch.tensor([[0.25, -0.5]])
    parameter = torch.nn.Parameter(torch.tensor(math.log(50)))
    with torch.inference_mode():
        torch.testing.assert_close(scoring.logits(cosine, parameter), torch.tensor([[12.5, -25.0]]))
