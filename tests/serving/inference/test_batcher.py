"""The batch loop: it takes what waits, and nothing that fails in it hurts others."""

import asyncio

import pytest
import torch

from app.core.model import ScoredBatch
from app.errors import DrainingError, InferenceError
from app.serving.observability import Timings
from tests.support.batching import OneModel, running, submit_in_order
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


def test_a_batch_is_what_waited_while_the_model_was_busy() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, max_batch_size=4) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 7)
            tower.go.set()
            embeddings = await asyncio.gather(*tasks)
        assert tower.batches == [1, 4, 3]
        assert all(embedding.embedding.norm() == 1 for embedding in embeddings)

    asyncio.run(scenario())


@pytest.mark.parametrize("grey", [GOOD, RAISES])
def test_an_images_wait_and_its_batch_are_noted_well_or_not(grey: int) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            first, *_ = await submit_in_order(batcher, tower, [])
            ways = [Timings() for _ in range(2)]
            tasks = [
                asyncio.create_task(batcher.submit(batcher.model, grey_pixels(grey), 0, way))
                for way in ways
            ]
            await until(lambda: len(batcher) == 2)
            assert all(way.queue_began and not way.infer_began for way in ways)
            tower.go.set()
            await asyncio.gather(first, *tasks, return_exceptions=True)
        for way in ways:
            assert way.batch_size == 2
            assert 0 < way.queue_began <= way.infer_began <= way.infer_ended

    asyncio.run(scenario())


def test_a_lone_image_does_not_wait_for_company() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            for _ in range(3):
                await batcher.put(grey_pixels(GOOD))
        assert tower.batches == [1, 1, 1]

    asyncio.run(scenario())


def test_each_image_gets_its_own_row() -> None:
    async def scenario() -> None:
        tower = FakeTower()

        def by_grey(pixels: torch.Tensor) -> ScoredBatch:
            greys = pixels[:, 0, 0, 0].float()
            return ScoredBatch(
                torch.stack([tower(pixels)[:, 0], greys], dim=1), greys[:, None] / 255
            )

        batcher = OneModel(by_grey, 4)
        batcher.start()
        tasks = await submit_in_order(batcher, tower, range(100, 110))
        tower.go.set()
        embeddings = await asyncio.gather(*tasks)
        await batcher.close()
        assert [int(e.embedding[1]) for e in embeddings] == [GOOD, *range(100, 110)]

    asyncio.run(scenario())


@pytest.mark.parametrize("how", [RAISES, TOO_FEW])
def test_a_failing_batch_fails_its_own_images_only(how: int) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, max_batch_size=2) as batcher:
            tasks = await submit_in_order(batcher, tower, [how, GOOD, GOOD, GOOD])
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


def test_an_embedding_that_is_not_finite_fails_alone() -> None:
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


def test_a_batch_for_which_the_device_has_no_memory_goes_on_in_halves() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        tower.memory = 3
        async with running(tower, max_batch_size=8) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 16)
            tower.go.set()
            outcomes = await asyncio.gather(*tasks)
        assert all(outcome.embedding.norm() == 1 for outcome in outcomes)
        assert tower.batches == [1, 8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]  # it learns once

    asyncio.run(scenario())


def test_an_image_for_which_the_device_has_no_memory_fails_alone() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        tower.memory = 0
        async with running(tower) as batcher:
            with pytest.raises(InferenceError):
                await batcher.put(grey_pixels(GOOD))
            tower.memory = 1
            await batcher.put(grey_pixels(GOOD))

    asyncio.run(scenario())


def test_a_cancelled_image_never_reaches_the_model() -> None:
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


def test_closing_answers_what_waits_then_refuses() -> None:
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
            embeddings = await asyncio.gather(*tasks)
            assert all(embedding.embedding.norm() == 1 for embedding in embeddings)

    asyncio.run(scenario())


def test_what_has_left_keeps_no_memory_while_the_model_is_stuck() -> None:
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


def test_what_cannot_be_counted_is_answered_all_the_same() -> None:
    class Uncounted(OneModel):
        def note(self) -> None:
            raise OSError("no metrics")

    async def scenario() -> None:
        batcher = Uncounted(lambda pixels: scored(FakeTower()(pixels)), 4)
        batcher.start()
        for _ in range(2):
            answered = await asyncio.wait_for(batcher.put(grey_pixels(GOOD)), PATIENCE_S)
            assert answered.embedding.norm() == 1
        await batcher.close()

    asyncio.run(scenario())
