"""The batch loop: batches form while the model is busy, and failures stay contained."""

import asyncio

import pytest
import torch

from app.core.model import ScoredBatch
from app.errors import DrainingError, InferenceError
from app.serving.observability import Timings
from tests.support.batching import SingleModelBatcher, running, submit_in_order
from tests.support.fakes import (
    GOOD,
    NAN,
    PATIENCE_S,
    RAISES,
    TOO_FEW,
    FakeTower,
    grey_pixels,
    scored,
    until,
)


def test_busy_model_images_queue_into_full_batches() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, max_batch_size=4) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 7)
            tower.go.set()
            images = await asyncio.gather(*tasks)
        assert tower.batches == [1, 4, 3]
        assert all(image.embedding.norm() == 1 for image in images)

    asyncio.run(scenario())


@pytest.mark.parametrize("grey", [GOOD, RAISES])
def test_timings_are_recorded_for_success_and_failure(grey: int) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            first, *_ = await submit_in_order(batcher, tower, [])
            timings = [Timings() for _ in range(2)]
            tasks = [
                asyncio.create_task(batcher.submit(batcher.model, grey_pixels(grey), 0, timing))
                for timing in timings
            ]
            await until(lambda: len(batcher) == 2)
            assert all(timing.queue_began and not timing.infer_began for timing in timings)
            tower.go.set()
            await asyncio.gather(first, *tasks, return_exceptions=True)
        for timing in timings:
            assert timing.batch_size == 2
            assert 0 < timing.queue_began <= timing.infer_began <= timing.infer_ended

    asyncio.run(scenario())


def test_single_image_is_computed_without_linger() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            for _ in range(3):
                await batcher.put(grey_pixels(GOOD))
        assert tower.batches == [1, 1, 1]

    asyncio.run(scenario())


def test_each_image_receives_its_own_row() -> None:
    async def scenario() -> None:
        tower = FakeTower()

        def by_grey(pixels: torch.Tensor) -> ScoredBatch:
            greys = pixels[:, 0, 0, 0].float()
            return ScoredBatch(
                torch.stack([tower(pixels)[:, 0], greys], dim=1), greys[:, None] / 255
            )

        batcher = SingleModelBatcher(by_grey, 4)
        batcher.start()
        tasks = await submit_in_order(batcher, tower, range(100, 110))
        tower.go.set()
        images = await asyncio.gather(*tasks)
        await batcher.close()
        assert [int(image.embedding[1]) for image in images] == [GOOD, *range(100, 110)]

    asyncio.run(scenario())


@pytest.mark.parametrize("grey", [RAISES, TOO_FEW])
def test_failing_batch_fails_only_its_own_images(grey: int) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, max_batch_size=2) as batcher:
            tasks = await submit_in_order(batcher, tower, [grey, GOOD, GOOD, GOOD])
            tower.go.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(outcome, InferenceError) for outcome in outcomes] == [
                False,
                True,
                True,
                False,
                False,
            ]
            assert (await batcher.put(grey_pixels(GOOD))).embedding.norm() == 1

    asyncio.run(scenario())


def test_non_finite_embedding_fails_alone() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD, NAN, GOOD])
            tower.go.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert tower.batches == [1, 3]
        failed = [isinstance(outcome, InferenceError) for outcome in outcomes]
        assert failed == [False, False, True, False]

    asyncio.run(scenario())


def test_out_of_memory_batch_is_split_in_halves() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        tower.memory = 3
        async with running(tower, max_batch_size=8) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 16)
            tower.go.set()
            outcomes = await asyncio.gather(*tasks)
        assert all(outcome.embedding.norm() == 1 for outcome in outcomes)
        assert tower.batches == [1, 8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]  # the limit shrinks once

    asyncio.run(scenario())


def test_out_of_memory_single_image_fails_alone() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        tower.memory = 0
        async with running(tower) as batcher:
            with pytest.raises(InferenceError):
                await batcher.put(grey_pixels(GOOD))
            tower.memory = 1
            await batcher.put(grey_pixels(GOOD))

    asyncio.run(scenario())


def test_cancelled_image_is_never_computed() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 3)
            tasks[1].cancel()
            tasks[3].cancel()
            await asyncio.sleep(0)
            tower.go.set()
            await tasks[2]
        assert tower.batches == [1, 1]

    asyncio.run(scenario())


def test_close_scores_queued_images_and_refuses_new_ones() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 6)
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0)
            with pytest.raises(DrainingError):
                await batcher.put(grey_pixels(GOOD))
            tower.go.set()
            await closing
            assert all(task.done() for task in tasks)
            images = await asyncio.gather(*tasks)
            assert all(image.embedding.norm() == 1 for image in images)

    asyncio.run(scenario())


def test_cancelled_images_leave_queue_while_model_is_stuck() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 3)
            for task in tasks[1:]:
                task.cancel()
            await asyncio.sleep(0)
            stays = asyncio.create_task(batcher.put(grey_pixels(GOOD)))
            await until(lambda: len(batcher) == 1)
            tower.go.set()
            await stays

    asyncio.run(scenario())


def test_failing_batch_observer_withholds_no_result() -> None:
    class FailingObserver(SingleModelBatcher):
        def observe_batch(self) -> None:
            raise OSError("no metrics")

    async def scenario() -> None:
        batcher = FailingObserver(lambda pixels: scored(FakeTower()(pixels)), 4)
        batcher.start()
        for _ in range(2):
            image = await asyncio.wait_for(batcher.put(grey_pixels(GOOD)), PATIENCE_S)
            assert image.embedding.norm() == 1
        await batcher.close()

    asyncio.run(scenario())
