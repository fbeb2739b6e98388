"""Fair queueing: requests with many images do not delay those with one."""

import asyncio
import threading

import pytest

from app.core.classifier import Classifier
from app.serving.inference import Engine
from app.serving.inference.fair_semaphore import FairSemaphore
from app.serving.observability import Metrics, Timings
from app.settings import Settings
from tests.support.batching import running
from tests.support.fakes import (
    GOOD,
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    grey_photo,
    grey_pixels,
    until,
)


def test_lowest_virtual_start_is_admitted_first() -> None:
    async def scenario() -> None:
        semaphore = FairSemaphore(1)
        admitted_names: list[str] = []

        async def pass_through(name: str, virtual_start: int) -> None:
            async with semaphore.acquire(virtual_start):
                admitted_names.append(name)
                await asyncio.sleep(0)

        names = {"first": 9, "late": 5, "a": 2, "b": 2, "early": 1}
        await asyncio.gather(
            *(pass_through(name, virtual_start) for name, virtual_start in names.items())
        )
        assert admitted_names == ["first", "early", "a", "b", "late"]

    asyncio.run(scenario())


def test_cancelled_waiters_lose_no_permit() -> None:
    async def scenario() -> None:
        semaphore = FairSemaphore(2)
        holders = most = 0

        async def hold(virtual_start: int) -> None:
            nonlocal holders, most
            async with semaphore.acquire(virtual_start):
                holders += 1
                most = max(most, holders)
                try:
                    await asyncio.sleep(0.001)
                finally:
                    holders -= 1

        for _ in range(3):
            tasks = [asyncio.create_task(hold(virtual_start)) for virtual_start in range(12)]
            await asyncio.sleep(0)
            for task in tasks[1::3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert holders == 0
        assert most == 2
        await asyncio.wait_for(asyncio.gather(hold(0), hold(0)), PATIENCE_S)

    asyncio.run(scenario())


def test_waiter_cancelled_when_admitted_releases_permit() -> None:
    async def scenario() -> None:
        semaphore = FairSemaphore(1)
        holding = semaphore.acquire(0)
        await holding.__aenter__()
        entered = asyncio.Event()

        async def enter(virtual_start: int) -> None:
            async with semaphore.acquire(virtual_start):
                entered.set()

        admitted, next_one = (asyncio.create_task(enter(virtual_start)) for virtual_start in (1, 2))
        await asyncio.sleep(0)
        await holding.__aexit__(None, None, None)  # admits the first, which has not run yet
        admitted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admitted
        await asyncio.wait_for(next_one, PATIENCE_S)
        assert entered.is_set()

    asyncio.run(scenario())


def test_batcher_interleaves_requests() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        ended: list[str] = []

        async with running(tower, max_batch_size=2) as batcher:

            async def one(name: str, virtual_start: int) -> None:
                await batcher.put(grey_pixels(GOOD), virtual_start)
                ended.append(name)

            tower.go.clear()
            many = [asyncio.create_task(one("many", virtual_start)) for virtual_start in range(8)]
            await until(lambda: tower.batches == [2])
            single = asyncio.create_task(one("single", batcher.virtual_time))
            await until(lambda: len(batcher) == 7)
            tower.go.set()
            await asyncio.gather(single, *many)
        assert ended.index("single") <= 3  # of 9
        assert sum(tower.batches) == 9

    asyncio.run(scenario())


def test_engine_scores_single_image_before_end_of_large_request(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        tower, metrics = FakeTower(), Metrics()
        settings = small_settings.model_copy(update={"max_batch_size": 2})
        engine = Engine(FakeClassifier(tiny_classifier, tower), settings, metrics, cores=1)
        engine.start()

        def start(timings: list[Timings]) -> asyncio.Task[object]:
            sources = [lambda: grey_photo(GOOD)] * len(timings)
            return asyncio.create_task(engine.images.embed(engine.models.current, sources, timings))

        async def until_decoded(images: int) -> None:
            await until(lambda: b"decode_seconds_count %d.0" % images in metrics.render())

        many, single = [Timings() for _ in range(8)], [Timings()]
        tower.go.clear()
        first = start(many)
        await until_decoded(8)
        second = start(single)
        await until_decoded(9)
        await asyncio.sleep(0)
        tower.go.set()
        await asyncio.gather(first, second)
        await engine.close()
        assert len([timing for timing in many if timing.infer_began > single[0].infer_began]) >= 4

    asyncio.run(scenario())


def test_engine_decodes_single_image_before_end_of_large_request(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        settings = small_settings.model_copy(update={"decode_threads": 1})
        engine = Engine(FakeClassifier(tiny_classifier, FakeTower()), settings, Metrics(), 1)
        engine.start()
        decoded: list[str] = []
        go = threading.Event()

        def start(name: str, images: int) -> asyncio.Task[object]:
            def source() -> bytes:
                decoded.append(name)
                assert go.wait(PATIENCE_S)
                return grey_photo(GOOD)

            timings = [Timings() for _ in range(images)]
            return asyncio.create_task(
                engine.images.embed(engine.models.current, [source] * images, timings)
            )

        many = start("many", 8)
        await until(lambda: decoded == ["many"])
        single = start("single", 1)
        await until(
            lambda: len(engine.images._decoding._waiters) == 7
        )  # 8 + 1 images, 2 of them admitted
        go.set()
        await asyncio.gather(many, single)
        await engine.close()
        assert decoded.index("single") <= 4  # of 9

    asyncio.run(scenario())
