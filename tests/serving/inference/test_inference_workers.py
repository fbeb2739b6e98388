"""Inference workers: the share of each worker, its threads, and lingering between batches."""

import asyncio

import pytest
import torch

from app.core.model import ScoredBatch
from app.core.runtime import InferenceWorkers
from app.serving.inference.batcher import ScoredImage
from app.serving.inference.scoring_model import ScoringModel
from app.serving.observability import Timings
from tests.support.batching import SingleModelBatcher, running, submit_in_order
from tests.support.fakes import GOOD, PATIENCE_S, RAISES, FakeTower, grey_pixels, scored, until


def test_workers_share_queued_images() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(
            tower, workers=InferenceWorkers(2, threads=1, threads_single_image=2)
        ) as batcher:
            tower.go.clear()
            tasks = [asyncio.create_task(batcher.put(grey_pixels(GOOD))) for _ in range(9)]
            await until(lambda: len(tower.batches) == 2)
            assert sorted(tower.batches) == [4, 4]
            assert len(batcher) == 1  # both workers are busy
            tower.go.set()
            await asyncio.gather(*tasks)

    asyncio.run(scenario())


@pytest.mark.parametrize(("dedicated_cores", "second"), [(True, 4), (False, 6)])
def test_free_worker_leaves_share_to_busy_worker_on_cpu(dedicated_cores: bool, second: int) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        workers = InferenceWorkers(
            2, threads=1, threads_single_image=1, dedicated_cores=dedicated_cores
        )
        async with running(tower, max_batch_size=8, workers=workers) as batcher:
            tower.go.clear()
            tasks = [asyncio.create_task(batcher.put(grey_pixels(GOOD)))]
            await until(lambda: tower.batches == [1])
            tasks += [asyncio.create_task(batcher.put(grey_pixels(GOOD))) for _ in range(6)]
            await until(lambda: len(tower.batches) == 2)
            assert tower.batches == [1, second]
            assert len(batcher) == 6 - second
            tower.go.set()
            await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_image_lingers_until_as_many_are_in_flight_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.serving.inference.batch_policy.LINGER_SHARE", 1e6)

    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 2)
            tower.go.set()
            await asyncio.gather(*tasks)
            next_tasks = [asyncio.create_task(batcher.put(grey_pixels(GOOD)))]
            await asyncio.sleep(0.05)
            assert tower.batches == [1, 2]
            next_tasks.append(asyncio.create_task(batcher.put(grey_pixels(GOOD))))
            await asyncio.gather(*next_tasks)
            assert tower.batches == [1, 2, 2]

    asyncio.run(scenario())


def test_linger_ends_without_further_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.inference.batch_policy.LINGER_SHARE", 1.0)

    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 2)
            tower.go.set()
            await asyncio.gather(*tasks)
            await asyncio.wait_for(batcher.put(grey_pixels(GOOD)), PATIENCE_S)
            assert tower.batches == [1, 2, 1]

    asyncio.run(scenario())


def test_expected_images_prevent_single_image_threads() -> None:
    seen: list[int] = []

    async def scenario() -> None:
        tower = FakeTower()

        def score(pixels: torch.Tensor) -> ScoredBatch:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        workers = InferenceWorkers(2, threads=1, threads_single_image=3)
        batcher = SingleModelBatcher(score, 4, workers)
        batcher.start()
        for expected in (0, 1, 0, 0):
            batcher.expected_images = expected
            await batcher.put(grey_pixels(GOOD))
        await batcher.close()

    asyncio.run(scenario())
    assert seen == [3, 1, 1, 3]  # the third follows a batch with others in flight


def test_single_image_uses_all_threads() -> None:
    seen: list[int] = []
    workers = InferenceWorkers(2, threads=1, threads_single_image=3)

    async def scenario() -> None:
        tower = FakeTower()

        def score(pixels: torch.Tensor) -> ScoredBatch:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        batcher = SingleModelBatcher(score, 4, workers)
        batcher.start()
        for _ in range(2):
            await batcher.put(grey_pixels(GOOD))
        await asyncio.gather(*(batcher.put(grey_pixels(GOOD)) for _ in range(2)))
        await batcher.close()

    before = torch.get_num_threads()
    asyncio.run(scenario())
    assert seen == [3, 3, 1, 1]
    assert torch.get_num_threads() == before  # set per worker thread


def test_worker_survives_failing_batch() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(
            tower, workers=InferenceWorkers(2, threads=1, threads_single_image=2)
        ) as batcher:
            for _ in range(4):
                outcomes = await asyncio.gather(
                    *(batcher.put(grey_pixels(grey)) for grey in (RAISES, GOOD)),
                    return_exceptions=True,
                )
                assert [isinstance(each, ScoredImage) for each in outcomes] == [False, True]

    asyncio.run(scenario())


def test_batches_hold_images_of_one_model() -> None:
    async def scenario() -> None:
        old, new = FakeTower(), FakeTower()
        async with running(old, max_batch_size=4) as batcher:
            other = ScoringModel(lambda pixels: scored(-new(pixels)), 2)
            tasks = await submit_in_order(batcher, old, [GOOD] * 3)
            later = [
                asyncio.create_task(
                    batcher.submit(other, grey_pixels(GOOD), virtual_start, Timings())
                )
                for virtual_start in range(3)
            ]
            await until(lambda: len(batcher) == 6)
            old.go.set()
            old_images, new_images = await asyncio.gather(
                asyncio.gather(*tasks), asyncio.gather(*later)
            )
        assert (old.batches, new.batches) == ([1, 3], [2, 1])
        assert [image.embedding[0] for image in old_images] == [1] * 4
        assert [image.embedding[0] for image in new_images] == [-1] * 3

    asyncio.run(scenario())
