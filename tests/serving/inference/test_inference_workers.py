"""InferenceWorkers: who computes what, beside whom and with how many threads."""

import asyncio

import pytest
import torch

from app.core.model import ScoredBatch
from app.core.runtime import InferenceWorkers
from app.serving.inference.batcher import Model, ScoredImage
from app.serving.observability import Timings
from tests.support.batching import OneModel, running, submit_in_order
from tests.support.fakes import GOOD, RAISES, FakeTower, grey_pixels, scored, until


def test_lanes_share_what_waits() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, lanes=InferenceWorkers(2, threads=1, threads_alone=2)) as batcher:
            tower.go.clear()
            tasks = [asyncio.create_task(batcher.put(grey_pixels(GOOD))) for _ in range(9)]
            await until(lambda: len(tower.batches) == 2)
            assert sorted(tower.batches) == [4, 4]
            assert len(batcher) == 1  # no lane is free for the ninth
            tower.go.set()
            await asyncio.gather(*tasks)

    asyncio.run(scenario())


@pytest.mark.parametrize(("own_cores", "second"), [(True, 4), (False, 6)])
def test_a_free_lane_leaves_a_busy_one_its_share_where_each_has_cores_of_its_own(
    own_cores: bool, second: int
) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        lanes = InferenceWorkers(2, threads=1, threads_alone=1, own_cores=own_cores)
        async with running(tower, max_batch_size=8, lanes=lanes) as batcher:
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


def test_where_others_were_around_an_image_waits_for_them_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 2)
            tower.go.set()
            await asyncio.gather(*tasks)
            monkeypatch.setattr("app.serving.inference.batcher.LINGER_SHARE", 1e6)
            back = [asyncio.create_task(batcher.put(grey_pixels(GOOD)))]
            await asyncio.sleep(0.05)
            assert tower.batches == [1, 2]
            back.append(asyncio.create_task(batcher.put(grey_pixels(GOOD))))
            await asyncio.gather(*back)  # as many as there were
            assert tower.batches == [1, 2, 2]
            monkeypatch.setattr("app.serving.inference.batcher.LINGER_SHARE", 1e-9)
            await batcher.put(grey_pixels(GOOD))

    asyncio.run(scenario())


def test_an_image_is_not_alone_while_others_are_coming() -> None:
    seen: list[int] = []

    async def scenario() -> None:
        tower = FakeTower()

        def watched(pixels: torch.Tensor) -> ScoredBatch:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        lanes = InferenceWorkers(2, threads=1, threads_alone=3)
        batcher = OneModel(watched, 4, lanes)
        batcher.start()
        for coming in (0, 1, 0, 0):
            batcher.coming = coming
            await batcher.put(grey_pixels(GOOD))
        await batcher.close()

    asyncio.run(scenario())
    assert seen == [3, 1, 1, 3]  # the third comes when others have just been


def test_a_batch_alone_computes_with_all_threads_and_in_company_with_its_lanes() -> None:
    seen: list[int] = []
    lanes = InferenceWorkers(2, threads=1, threads_alone=3)

    async def scenario() -> None:
        tower = FakeTower()

        def watched(pixels: torch.Tensor) -> ScoredBatch:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        batcher = OneModel(watched, 4, lanes)
        batcher.start()
        for _ in range(2):
            await batcher.put(grey_pixels(GOOD))
        await asyncio.gather(*(batcher.put(grey_pixels(GOOD)) for _ in range(2)))
        await batcher.close()

    before = torch.get_num_threads()
    asyncio.run(scenario())
    assert seen == [3, 3, 1, 1]
    assert torch.get_num_threads() == before  # each lane's number is its own


def test_a_lane_that_failed_goes_on() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, lanes=InferenceWorkers(2, threads=1, threads_alone=2)) as batcher:
            for _ in range(4):
                outcomes = await asyncio.gather(
                    *(batcher.put(grey_pixels(grey)) for grey in (RAISES, GOOD)),
                    return_exceptions=True,
                )
                assert [isinstance(each, ScoredImage) for each in outcomes] == [False, True]

    asyncio.run(scenario())


def test_a_batch_is_of_one_model_and_both_get_on() -> None:
    async def scenario() -> None:
        old, new = FakeTower(), FakeTower()
        async with running(old, max_batch_size=4) as batcher:
            other = Model(lambda pixels: scored(-new(pixels)), 2)
            tasks = await submit_in_order(batcher, old, [GOOD] * 3)
            later = [
                asyncio.create_task(batcher.submit(other, grey_pixels(GOOD), turn, Timings()))
                for turn in range(3)
            ]
            await until(lambda: len(batcher) == 6)
            old.go.set()
            by_old, by_new = await asyncio.gather(asyncio.gather(*tasks), asyncio.gather(*later))
        assert (old.batches, new.batches) == ([1, 3], [2, 1])
        assert [image.embedding[0] for image in by_old] == [1] * 4
        assert [image.embedding[0] for image in by_new] == [-1] * 3

    asyncio.run(scenario())
