"""Requests take turns, however many images each has."""

import asyncio
import threading

import pytest

from app.core.classifier import Classifier
from app.serving.engine import Engine
from app.serving.metrics import Metrics
from app.serving.stages import Stages
from app.serving.turns import Slots
from app.settings import Settings
from tests.fakes import (
    GOOD,
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    grey_photo,
    grey_pixels,
    until,
)
from tests.test_batcher import running


def test_the_lowest_turn_passes_first_and_equal_ones_as_they_came() -> None:
    async def scenario() -> None:
        slots = Slots(1)
        passed: list[str] = []

        async def pass_through(name: str, turn: int) -> None:
            async with slots.slot(turn):
                passed.append(name)
                await asyncio.sleep(0)

        names = {"first": 9, "late": 5, "a": 2, "b": 2, "early": 1}
        await asyncio.gather(*(pass_through(name, turn) for name, turn in names.items()))
        assert passed == ["first", "early", "a", "b", "late"]

    asyncio.run(scenario())


def test_no_more_are_inside_than_may_be_and_who_leaves_takes_no_slot_along() -> None:
    async def scenario() -> None:
        slots = Slots(2)
        inside = most = 0

        async def stay(turn: int) -> None:
            nonlocal inside, most
            async with slots.slot(turn):
                inside += 1
                most = max(most, inside)
                try:
                    await asyncio.sleep(0.001)
                finally:
                    inside -= 1

        for _ in range(3):
            tasks = [asyncio.create_task(stay(turn)) for turn in range(12)]
            await asyncio.sleep(0)
            for task in tasks[1::3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert inside == 0
        assert most == 2
        await asyncio.wait_for(asyncio.gather(stay(0), stay(0)), PATIENCE_S)

    asyncio.run(scenario())


def test_one_that_is_cancelled_as_it_is_admitted_passes_its_slot_on() -> None:
    async def scenario() -> None:
        slots = Slots(1)
        holding = slots.slot(0)
        await holding.__aenter__()
        entered = asyncio.Event()

        async def enter(turn: int) -> None:
            async with slots.slot(turn):
                entered.set()

        admitted, next_one = (asyncio.create_task(enter(turn)) for turn in (1, 2))
        await asyncio.sleep(0)
        await holding.__aexit__(None, None, None)  # admits the first, who has not run yet
        admitted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admitted
        await asyncio.wait_for(next_one, PATIENCE_S)
        assert entered.is_set()

    asyncio.run(scenario())


def test_one_image_does_not_wait_for_all_of_another_request() -> None:
    async def scenario() -> None:
        tower = FakeTower()
        ended: list[str] = []

        async with running(tower, max_batch_size=2) as batcher:

            async def one(name: str, turn: int) -> None:
                await batcher.put(grey_pixels(GOOD), turn)
                ended.append(name)

            tower.go.clear()
            many = [asyncio.create_task(one("many", turn)) for turn in range(8)]
            await until(lambda: tower.batches == [2])
            single = asyncio.create_task(one("single", batcher.turn))
            await until(lambda: len(batcher) == 7)
            tower.go.set()
            await asyncio.gather(single, *many)
        assert ended.index("single") <= 3  # of 9
        assert sum(tower.batches) == 9

    asyncio.run(scenario())


def test_in_the_engine_one_image_is_scored_before_the_last_ones_of_a_request_before_it(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        tower, metrics = FakeTower(), Metrics()
        settings = small_settings.model_copy(update={"max_batch_size": 2})
        engine = Engine(FakeClassifier(tiny_classifier, tower), settings, metrics, cores=1)
        engine.start()

        def begin(ways: list[Stages]) -> asyncio.Task[object]:
            sources = [lambda: grey_photo(GOOD)] * len(ways)
            return asyncio.create_task(engine.embed(engine.served, sources, ways))

        async def until_decoded(images: int) -> None:
            await until(lambda: b"decode_seconds_count %d.0" % images in metrics.render())

        many, single = [Stages() for _ in range(8)], [Stages()]
        tower.go.clear()
        first = begin(many)
        await until_decoded(8)
        second = begin(single)
        await until_decoded(9)
        await asyncio.sleep(0)
        tower.go.set()
        await asyncio.gather(first, second)
        await engine.close()
        assert len([way for way in many if way.infer_began > single[0].infer_began]) >= 4

    asyncio.run(scenario())


def test_in_the_engine_one_image_is_decoded_before_the_last_ones_of_a_request_before_it(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        settings = small_settings.model_copy(update={"decode_threads": 1})
        engine = Engine(FakeClassifier(tiny_classifier, FakeTower()), settings, Metrics(), 1)
        engine.start()
        decoded: list[str] = []
        go = threading.Event()

        def begin(name: str, images: int) -> asyncio.Task[object]:
            def source() -> bytes:
                decoded.append(name)
                assert go.wait(PATIENCE_S)
                return grey_photo(GOOD)

            ways = [Stages() for _ in range(images)]
            return asyncio.create_task(engine.embed(engine.served, [source] * images, ways))

        many = begin("many", 8)
        await until(lambda: decoded == ["many"])
        single = begin("single", 1)
        await until(lambda: len(engine._decoding._waiting) == 7)  # all but two slots' worth
        go.set()
        await asyncio.gather(many, single)
        await engine.close()
        assert decoded.index("single") <= 4  # of 9

    asyncio.run(scenario())
