"""Injects errors into the model and the decoder of a server in this process, under load.

python -m benchmarks.robustness.faulty weights/mumic-demo

Only the images of a failing batch or decode may get an error. It prints the outcomes of the
requests and the number of images that the faults affected, and fails if the two disagree.
"""

import argparse
import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
import uvicorn
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import ImageLimits, Pixels, Preprocess, load_pixels
from app.core.model import ScoredBatch
from app.main import create_app
from app.serving.inference import image_embedder
from app.serving.listening import bind
from app.serving.process import server_config
from app.settings import Settings
from benchmarks.support.http import bodiless_request, multipart_requests, request_once
from benchmarks.support.load_generator import OK, LoadGenerator
from benchmarks.support.photos import photos

CLIENTS = 32
FAULT_INTERVAL = 10  # one of this many batches, or photos, fails
MAX_BATCH_IN_MEMORY = 3  # images; the fault "no memory" fails larger batches


class FaultyClassifier(Classifier):
    """A classifier that can inject faults.

    Args:
        real: a loaded classifier.

    Attributes:
        fault: `raises`, `not finite`, `no memory`, `decoder raises`, or an empty string.
        affected: number of images that the fault affected.
    """

    def __init__(self, real: Classifier) -> None:
        vars(self).update(vars(real))
        self.fault, self.affected = "", 0
        self._calls = 0
        self._lock = threading.Lock()

    def score_images(self, pixels: Tensor) -> ScoredBatch:
        """Score images, or inject the selected fault."""
        if self.fault == "no memory" and len(pixels) > MAX_BATCH_IN_MEMORY:
            raise torch.OutOfMemoryError("no memory for this batch")
        if self.fault == "raises" and self._is_due(len(pixels)):
            raise RuntimeError("the model failed")
        scored = super().score_images(pixels)
        if self.fault == "not finite" and self._is_due(1):
            embeddings = scored.embeddings.clone()
            embeddings[0] = torch.nan
            return ScoredBatch(embeddings, scored.logits)
        return scored

    def decode(self, data: bytes, limits: ImageLimits, preprocess: Preprocess) -> Pixels:
        """Decode an image, or inject the selected fault."""
        if self.fault == "decoder raises" and self._is_due(1):
            raise RuntimeError("the decoder failed")
        return load_pixels(data, limits, preprocess)

    def _is_due(self, images: int) -> bool:
        with self._lock:
            self._calls += 1
            if self._calls % FAULT_INTERVAL:
                return False
            self.affected += images
            return True


@contextlib.contextmanager
def server(classifier: Classifier) -> Iterator[int]:
    """Run a server in a thread on a free loopback port; yield the port."""
    bound = bind("127.0.0.1", 0)
    settings = Settings(_env_file=None)
    uvicorn_server = uvicorn.Server(server_config(create_app(settings, classifier), settings))
    thread = threading.Thread(target=uvicorn_server.run, args=[[bound]])
    thread.start()
    try:
        while not uvicorn_server.started:
            thread.join(0.01)
        yield bound.getsockname()[1]
    finally:
        uvicorn_server.should_exit = True
        thread.join()


def main() -> None:
    """Print a row for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)  # each fault would log a traceback
    torch.set_num_threads(1)
    classifier = FaultyClassifier(Classifier.load(args.checkpoint, device="cpu", precision="fp32"))
    setattr(image_embedder, load_pixels.__name__, classifier.decode)
    passed = True
    print("| fault | answered | affected by the fault | errors | lost | /readyz afterwards |")
    print("|---|---:|---:|---|---:|---|")
    with server(classifier) as port:
        for fault in ("raises", "not finite", "no memory", "decoder raises"):
            classifier.fault, classifier.affected = fault, 0
            load = LoadGenerator(port, multipart_requests(photos(0.3), 1), CLIENTS)
            with load.running():
                load.wait_for_more(args.requests)
            classifier.fault = ""
            answered = load.outcomes.pop(OK)
            errors = ", ".join(f"{what}: {number}" for what, number in load.outcomes.items())
            lost = load.outcomes.total() - classifier.affected
            ready = request_once(port, bodiless_request("GET", "/readyz")).status
            print(f"| {fault} | {answered} | {classifier.affected} | {errors} | {lost} | {ready} |")
            passed = passed and lost == 0
    sys.exit(not passed)


if __name__ == "__main__":
    main()
