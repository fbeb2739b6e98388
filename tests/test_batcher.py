"""The batch loop: it takes what waits, and nothing that fails in it hurts others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import torch

from app.core.device import Lanes
from app.core.scoring import Scored
from app.errors import DrainingError, InferenceError
from app.serving.batcher import Batcher, ScoredImage
from tests.fakes import GOOD, NAN, RAISES, TOO_FEW, FakeTower, grey_pixels, scored, until

ONE = Lanes(1, threads=1, threads_alone=1)


@asynccontextmanager
async def running(
    tower: FakeTower, max_batch_size: int = 4, lanes: Lanes = ONE
) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        lambda pixels: scored(tower(pixels)), max_batch_size, lanes, lambda _images, _seconds: None
    )
    batcher.start()
    try:
        yield batcher
    finally:
        tower.go.set()
        await batcher.close()


async def submit_in_order(
    batcher: Batcher, tower: FakeTower, greys: Sequence[int]
) -> list[asyncio.Task[ScoredImage]]:
    """Hold the model on a first image, let the others queue behind it, give all their tasks."""
    tower.go.clear()
    first = asyncio.create_task(batcher.submit(grey_pixels(GOOD)))
    await until(lambda: tower.batches == [1])
    tasks = [asyncio.create_task(batcher.submit(grey_pixels(grey))) for grey in greys]
    await until(lambda: len(batcher) == len(greys))
    return [first, *tasks]


def test_a_batch_is_what_waited_while_the_model_was_busy() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, max_batch_size=4) as batcher:
            tasks = await submit_in_order(batcher, tower, [GOOD] * 7)
            tower.go.set()
            embeddings = await asyncio.gather(*tasks)
        assert tower.batches == [1, 4, 3]
        assert all(embedding.embedding.norm() == 1 for embedding in embeddings)
        assert all(embedding.queue_s >= 0 and embedding.infer_s >= 0 for embedding in embeddings)

    asyncio.run(scenario())


def test_a_lone_image_does_not_wait_for_company() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower) as batcher:
            for _ in range(3):
                await batcher.submit(grey_pixels(GOOD))
        assert tower.batches == [1, 1, 1]

    asyncio.run(scenario())


def test_each_image_gets_its_own_row() -> None:
    async def scenario() -> None:
        tower = FakeTower()

        def by_grey(pixels: torch.Tensor) -> Scored:
            greys = pixels[:, 0, 0, 0].float()
            return Scored(torch.stack([tower(pixels)[:, 0], greys], dim=1), greys[:, None] / 255)

        batcher = Batcher(by_grey, 4, ONE, lambda _images, _seconds: None)
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
            assert (await batcher.submit(grey_pixels(GOOD))).embedding.norm() == 1

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
                await batcher.submit(grey_pixels(GOOD))
            tower.go.set()
            await closing
            assert all(task.done() for task in tasks)
            embeddings = await asyncio.gather(*tasks)
            assert all(embedding.embedding.norm() == 1 for embedding in embeddings)

    asyncio.run(scenario())


def test_lanes_share_what_waits() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, lanes=Lanes(2, threads=1, threads_alone=2)) as batcher:
            tower.go.clear()
            tasks = [asyncio.create_task(batcher.submit(grey_pixels(GOOD))) for _ in range(9)]
            await until(lambda: len(tower.batches) == 2)
            assert sorted(tower.batches) == [4, 4]
            assert len(batcher) == 1  # no lane is free for the ninth
            tower.go.set()
            await asyncio.gather(*tasks)

    asyncio.run(scenario())


@pytest.mark.parametrize(("own_cores", "second"), [(True, 3), (False, 6)])
def test_a_free_lane_leaves_a_busy_one_its_share_where_each_has_cores_of_its_own(
    own_cores: bool, second: int
) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        lanes = Lanes(2, threads=1, threads_alone=1, own_cores=own_cores)
        async with running(tower, max_batch_size=8, lanes=lanes) as batcher:
            tower.go.clear()
            tasks = [asyncio.create_task(batcher.submit(grey_pixels(GOOD)))]
            await until(lambda: tower.batches == [1])
            tasks += [asyncio.create_task(batcher.submit(grey_pixels(GOOD))) for _ in range(6)]
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
            monkeypatch.setattr("app.serving.batcher.WAIT_FOR_COMPANY", 1e6)
            back = [asyncio.create_task(batcher.submit(grey_pixels(GOOD)))]
            await asyncio.sleep(0.05)
            assert tower.batches == [1, 2]
            back += [asyncio.create_task(batcher.submit(grey_pixels(GOOD))) for _ in range(3)]
            await asyncio.gather(*back)
            assert tower.batches == [1, 2, 4]
            monkeypatch.setattr("app.serving.batcher.WAIT_FOR_COMPANY", 1e-9)
            await batcher.submit(grey_pixels(GOOD))

    asyncio.run(scenario())


def test_an_image_is_not_alone_while_others_are_coming() -> None:
    seen: list[int] = []

    async def scenario() -> None:
        tower = FakeTower()

        def watched(pixels: torch.Tensor) -> Scored:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        lanes = Lanes(2, threads=1, threads_alone=3)
        batcher = Batcher(watched, 4, lanes, lambda _images, _seconds: None)
        batcher.start()
        for coming in (0, 1, 0, 0):
            batcher.coming = coming
            await batcher.submit(grey_pixels(GOOD))
        await batcher.close()

    asyncio.run(scenario())
    assert seen == [3, 1, 1, 3]  # the third comes when others have just been


def test_a_batch_alone_computes_with_all_threads_and_in_company_with_its_lanes() -> None:
    seen: list[int] = []
    lanes = Lanes(2, threads=1, threads_alone=3)

    async def scenario() -> None:
        tower = FakeTower()

        def watched(pixels: torch.Tensor) -> Scored:
            seen.append(torch.get_num_threads())
            return scored(tower(pixels))

        batcher = Batcher(watched, 4, lanes, lambda _images, _seconds: None)
        batcher.start()
        for _ in range(2):
            await batcher.submit(grey_pixels(GOOD))
        await asyncio.gather(*(batcher.submit(grey_pixels(GOOD)) for _ in range(2)))
        await batcher.close()

    before = torch.get_num_threads()
    asyncio.run(scenario())
    assert seen == [3, 3, 1, 1]
    assert torch.get_num_threads() == before  # each lane's number is its own


def test_a_lane_that_failed_goes_on() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        async with running(tower, lanes=Lanes(2, threads=1, threads_alone=2)) as batcher:
            for _ in range(4):
                outcomes = await asyncio.gather(
                    *(batcher.submit(grey_pixels(grey)) for grey in (RAISES, GOOD)),
                    return_exceptions=True,
                )
                assert [isinstance(each, ScoredImage) for each in outcomes] == [False, True]

    asyncio.run(scenario())
