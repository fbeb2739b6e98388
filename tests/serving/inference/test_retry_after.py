"""Retry-After: the unfinished images times the seconds per image under load, on a fake clock."""

import httpx
import pytest

from app.core.classifier import Classifier
from app.errors import OverloadedError
from app.main import create_app
from app.serving.inference.admission import Admission
from app.serving.inference.throughput import WINDOW_S, Throughput
from app.settings import Settings
from tests.support.engine import in_flight, post_in_background, served
from tests.support.fakes import GOOD, PATIENCE_S, FakeClassifier, FakeTower, grey_photo, wait_until
from tests.support.requests import multipart

SATURATING_IMAGES, WORKERS = 16, 2
SECONDS_PER_IMAGE = 0.01
BURST = 1000
TIMEOUT_S = 30.0


class Clock:
    """A clock that the test advances."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Server:
    """Admission on a fake clock, with room for one burst of requests of one image each."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.admission = Admission(
            BURST,
            lambda _: None,
            Throughput(SATURATING_IMAGES, WORKERS, BURST),
            max_retry_after_s=TIMEOUT_S,
            clock=self.clock,
        )

    def retry_after_s(self) -> int:
        """Return the wait of a refused request."""
        with pytest.raises(OverloadedError) as refused:
            self.admission.refuse_when_full(BURST + 1)
        return refused.value.retry_after_s

    def process(self, images: int, seconds_per_image: float = SECONDS_PER_IMAGE) -> list[int]:
        """Process a burst of requests; return the estimate before each of their answers."""
        requests = [self.admission.admit(1) for _ in range(images)]
        finishers = [request.__enter__() for request in requests]
        estimates = []
        for request, finish_image in zip(requests, finishers, strict=True):
            estimates.append(self.retry_after_s())
            self.clock.now_s += seconds_per_image
            finish_image()
            request.__exit__(None, None, None)
        return estimates


def test_estimate_before_any_batch_is_one_second() -> None:
    server = Server()
    with server.admission.admit(BURST):
        assert server.retry_after_s() == 1


def test_first_burst_is_estimated_from_the_batch_time() -> None:
    server = Server()
    server.admission.observe_batch(8, 8 * WORKERS * SECONDS_PER_IMAGE)
    with server.admission.admit(BURST):
        assert server.retry_after_s() == BURST * SECONDS_PER_IMAGE


def test_estimate_falls_with_the_remaining_images() -> None:
    server = Server()
    server.admission.observe_batch(8, 8 * WORKERS * SECONDS_PER_IMAGE)
    for estimates in (server.process(BURST), server.process(BURST)):
        for done, estimate in enumerate(estimates):
            assert estimate == pytest.approx(max(1, (BURST - done) * SECONDS_PER_IMAGE), abs=1)


def test_start_of_second_burst_uses_the_pace_of_the_first() -> None:
    server = Server()
    server.process(BURST)
    server.clock.now_s += 3600  # idle
    with server.admission.admit(BURST):
        assert server.retry_after_s() == pytest.approx(BURST * SECONDS_PER_IMAGE, abs=1)


def test_light_load_does_not_lower_the_pace() -> None:
    server = Server()
    server.process(BURST)
    for _ in range(100):
        server.process(1, seconds_per_image=0.5)
    with server.admission.admit(BURST):
        assert server.retry_after_s() == pytest.approx(BURST * SECONDS_PER_IMAGE, abs=1)


def test_estimate_follows_a_slower_pace() -> None:
    server = Server()
    server.process(BURST)
    slower = server.process(BURST, seconds_per_image=2 * SECONDS_PER_IMAGE)
    expected_s = 100 * 2 * SECONDS_PER_IMAGE
    assert slower[-100] == pytest.approx(expected_s, abs=1)
    assert BURST * 2 * SECONDS_PER_IMAGE > WINDOW_S  # the first burst counts for less


def test_images_of_one_request_count_as_they_finish() -> None:
    server = Server()
    with server.admission.admit(BURST) as finish_image:
        for _ in range(BURST // 2):
            server.clock.now_s += SECONDS_PER_IMAGE
            finish_image()
        assert server.retry_after_s() == BURST // 2 * SECONDS_PER_IMAGE


def test_cancelled_images_are_not_awaited() -> None:
    server = Server()
    server.admission.observe_batch(8, 8 * WORKERS * SECONDS_PER_IMAGE)
    with server.admission.admit(BURST // 2):
        with pytest.raises(RuntimeError), server.admission.admit(BURST // 2):
            raise RuntimeError
        assert server.retry_after_s() == BURST // 2 * SECONDS_PER_IMAGE


def test_estimate_is_bounded_by_the_request_timeout() -> None:
    server = Server()
    server.process(BURST)
    with server.admission.admit(BURST):
        server.clock.now_s += 10_000  # the model does not answer
        assert server.retry_after_s() == TIMEOUT_S


def refused_for_s(client: httpx.Client, images: int) -> int:
    answer = client.post("/predict", **multipart(*[grey_photo(GOOD)] * images))
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    return int(answer.headers["retry-after"])


def test_server_measures_batches_and_finished_images(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[Throughput] = []
    initialize = Throughput.__init__

    def remember(throughput: Throughput, busy_images: int, workers: int, most: int) -> None:
        initialize(throughput, busy_images, workers, most)
        observed.append(throughput)

    monkeypatch.setattr(Throughput, "__init__", remember)
    tower = FakeTower()
    settings = small_settings.model_copy(update={"max_queued_images": 4})
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        (throughput,) = observed
        tower.go.clear()
        answer = post_in_background(client, *[grey_photo(GOOD)] * 4)
        assert (throughput.unfinished, throughput.remaining_s(0)) == (4, 0)
        assert refused_for_s(client, 1) == 1
        tower.go.set()
        assert answer.result(PATIENCE_S).status_code == 200
        wait_until(lambda: in_flight(client) == 0)
        assert throughput.unfinished == 0
        throughput.add(4, 0)
        assert throughput.remaining_s(0) > 0


def test_batches_of_a_full_short_queue_count_completely() -> None:
    throughput = Throughput(busy_images=16, workers=2, max_images=16)
    throughput.add(16, 0.0)
    for batch in range(1, 100):
        now_s = batch * 8 * SECONDS_PER_IMAGE
        for _ in range(8):
            throughput.finish(now_s)
        throughput.add(8, now_s)
    assert throughput.remaining_s(now_s) == pytest.approx(16 * SECONDS_PER_IMAGE, rel=0.02)
