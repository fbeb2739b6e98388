"""BatchPolicy: shares, order, linger and models, by example and by property."""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model import ScoredBatch
from app.serving.inference.batch_policy import LINGER_SHARE, BatchPlan, BatchPolicy, QueuedImage
from app.serving.inference.scoring_model import ScoringModel

NOW_S = 100.0
CPU = BatchPolicy(workers=2, dedicated_cores=True)
GPU = BatchPolicy(workers=2, dedicated_cores=False)


class Load(TypedDict):
    """Arguments of `plan` besides the queue."""

    computing: int
    free_workers: int
    last_in_flight: int
    batch_s: float


def model(max_batch_size: int = 8) -> ScoringModel:
    def score(_: object) -> ScoredBatch:
        raise AssertionError("the policy must not call the model")

    return ScoringModel(score, max_batch_size)


def queued(starts: Sequence[int], scoring: ScoringModel | None = None) -> list[QueuedImage]:
    scoring = scoring or model()
    return [QueuedImage(scoring, start, NOW_S) for start in starts]


def plan(
    policy: BatchPolicy,
    queue: list[QueuedImage],
    *,
    computing: int = 0,
    free_workers: int = 2,
    last_in_flight: int = 1,
    batch_s: float = 0.0,
) -> BatchPlan[QueuedImage]:
    return policy.plan(
        queue,
        computing=computing,
        free_workers=free_workers,
        last_in_flight=last_in_flight,
        batch_s=batch_s,
        now_s=NOW_S,
    )


def sizes(planned: BatchPlan[QueuedImage]) -> list[int]:
    return [len(batch) for batch in planned.batches]


@pytest.mark.parametrize(
    ("policy", "images", "computing", "free", "expected"),
    [
        (CPU, 1, 0, 2, [1]),
        (CPU, 5, 0, 2, [3, 2]),
        (CPU, 20, 0, 2, [8, 8]),
        (CPU, 6, 1, 1, [4]),  # the busy worker's share stays queued
        (GPU, 6, 1, 1, [6]),
        (GPU, 5, 0, 2, [3, 2]),
        (CPU, 3, 0, 0, []),
        (CPU, 0, 4, 1, []),
    ],
)
def test_free_workers_share_queued_images(
    policy: BatchPolicy, images: int, computing: int, free: int, expected: list[int]
) -> None:
    planned = plan(policy, queued(range(images)), computing=computing, free_workers=free)
    assert sizes(planned) == expected
    assert len(planned.remaining) == images - sum(expected)
    assert planned.linger_s == 0


def test_images_are_taken_by_virtual_start_then_by_arrival() -> None:
    late, early, tied = queue = queued([2, 0, 2])
    policy = BatchPolicy(workers=1, dedicated_cores=True)
    planned = plan(policy, queue, free_workers=1)
    assert planned.batches == [[early, late, tied]]


def test_batch_holds_images_of_first_model_only() -> None:
    old, new = queued([0, 2]), queued([1, 3])
    planned = plan(GPU, [*new, *old], free_workers=1)
    assert planned.batches == [old]
    assert planned.remaining == new


def test_linger_while_fewer_in_flight_than_before() -> None:
    planned = plan(CPU, queued([0]), last_in_flight=3, batch_s=2.0)
    assert planned.batches == []
    assert planned.linger_s == pytest.approx(LINGER_SHARE * 2.0)


@pytest.mark.parametrize(
    ("images", "computing", "last_in_flight", "batch_s"),
    [
        (3, 0, 3, 2.0),  # as many in flight as before
        (1, 2, 3, 2.0),
        (16, 0, 99, 2.0),  # enough for full batches
        (1, 0, 3, 0.0),  # no batch duration is known, or the batcher is closing
    ],
)
def test_no_linger(images: int, computing: int, last_in_flight: int, batch_s: float) -> None:
    planned = plan(
        CPU,
        queued(range(images)),
        computing=computing,
        last_in_flight=last_in_flight,
        batch_s=batch_s,
    )
    assert planned.batches
    assert planned.linger_s == 0


MODELS = [model(1), model(3), model(8)]
IMAGES = st.builds(
    QueuedImage,
    st.sampled_from(MODELS),
    st.integers(-1, 9),
    st.floats(NOW_S - 3, NOW_S, allow_nan=False),
)
QUEUES = st.lists(IMAGES, max_size=30)
POLICIES = st.builds(BatchPolicy, st.just(4), st.booleans())
LOADS = st.fixed_dictionaries(
    {
        "computing": st.integers(0, 20),
        "free_workers": st.integers(0, 4),
        "last_in_flight": st.integers(0, 40),
        "batch_s": st.floats(0, 5),
    }
)


@given(POLICIES, QUEUES, LOADS)
def test_plan_neither_loses_nor_duplicates_images(
    policy: BatchPolicy, queue: list[QueuedImage], load: Load
) -> None:
    planned = plan(policy, queue, **load)
    images = [image for batch in planned.batches for image in batch] + planned.remaining
    assert Counter(images) == Counter(queue)


@given(POLICIES, QUEUES, LOADS)
def test_each_batch_is_of_one_model_and_within_its_size(
    policy: BatchPolicy, queue: list[QueuedImage], load: Load
) -> None:
    planned = plan(policy, queue, **load)
    assert len(planned.batches) <= load["free_workers"]
    for batch in planned.batches:
        assert len({image.model for image in batch}) == 1
        assert 1 <= len(batch) <= batch[0].model.max_batch_size


@given(POLICIES, QUEUES, LOADS)
def test_taken_images_start_before_queued_ones_of_model(
    policy: BatchPolicy, queue: list[QueuedImage], load: Load
) -> None:
    planned = plan(policy, queue, **load)
    taken = [image for batch in planned.batches for image in batch]
    starts = [image.virtual_start for image in taken]
    assert starts == sorted(starts)
    if taken:
        assert starts[0] == min(image.virtual_start for image in queue)
    left = (
        [image.virtual_start for image in planned.remaining if image.model is taken[0].model]
        if taken
        else []
    )
    assert not left or starts[-1] <= min(left)


@given(POLICIES, QUEUES, LOADS)
def test_linger_is_bounded_and_starts_no_batch(
    policy: BatchPolicy, queue: list[QueuedImage], load: Load
) -> None:
    planned = plan(policy, queue, **load)
    if planned.linger_s > 0:
        oldest_s = min(image.queued_at_s for image in queue)
        bound_s = LINGER_SHARE * load["batch_s"]
        assert NOW_S + planned.linger_s <= oldest_s + bound_s + 1e-9
        assert not planned.batches
    elif queue and load["free_workers"]:
        assert planned.batches
