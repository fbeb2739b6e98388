"""A model or a decoder that fails now and then under load, in a server of this process.

python -m benchmarks.robustness.faulty weights/mumic-demo

What a failing batch held gets a clear error, and nothing else is lost: it prints what became of the
requests beside what the faults held, and fails where more was lost.
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
from app.serving.process import bind, server_config
from app.settings import Settings
from benchmarks.support.client import Askers, get
from benchmarks.support.load import requests_of
from benchmarks.support.photos import photos

CLIENTS = 32
EVERY = 10  # batches, or photos, of which one fails
MOST_IMAGES = 3  # for more of them there is "no memory"


class Faulty(Classifier):
    """A classifier with a fault.

    Attributes:
        fault: `raises`, `not finite`, `no memory`, `decoder raises`, or `` for none.
        held: images that a fault took with it.
    """

    def __init__(self, real: Classifier) -> None:
        vars(self).update(vars(real))
        self.fault, self.held = "", 0
        self._calls = 0
        self._lock = threading.Lock()

    def score_images(self, pixels: Tensor) -> ScoredBatch:
        """What the model says, where no fault comes between."""
        if self.fault == "no memory" and len(pixels) > MOST_IMAGES:
            raise torch.OutOfMemoryError("no memory for so many images")
        if self.fault == "raises" and self._due(len(pixels)):
            raise RuntimeError("the model failed")
        scored = super().score_images(pixels)
        if self.fault == "not finite" and self._due(1):
            embeddings = scored.embeddings.clone()
            embeddings[0] = torch.nan
            return ScoredBatch(embeddings, scored.probabilities)
        return scored

    def decode(self, data: bytes, limits: ImageLimits, preprocess: Preprocess) -> Pixels:
        """What the decoder gives, where no fault comes between."""
        if self.fault == "decoder raises" and self._due(1):
            raise RuntimeError("the decoder failed")
        return load_pixels(data, limits, preprocess)

    def _due(self, images: int) -> bool:
        with self._lock:
            self._calls += 1
            if self._calls % EVERY:
                return False
            self.held += images
            return True


@contextlib.contextmanager
def running(classifier: Classifier) -> Iterator[int]:
    """Serve it in a thread on a free loopback port; gives the port."""
    bound = bind("127.0.0.1", 0)
    settings = Settings(_env_file=None)
    server = uvicorn.Server(server_config(create_app(settings, classifier), settings))
    thread = threading.Thread(target=server.run, args=[[bound]])
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    """Print a line for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a traceback for each fault
    torch.set_num_threads(1)
    classifier = Faulty(Classifier.load(args.checkpoint, device="cpu", precision="fp32"))
    setattr(image_embedder, load_pixels.__name__, classifier.decode)
    lost = 0
    print("| fault | answered | held by faults | what they were told | lost | ready afterwards |")
    print("|---|---:|---:|---|---:|---|")
    with running(classifier) as port:
        for fault in ("raises", "not finite", "no memory", "decoder raises"):
            classifier.fault, classifier.held = fault, 0
            askers = Askers(port, requests_of(photos(0.3), 1), CLIENTS)
            with askers.asking():
                askers.wait_for(args.requests)
            classifier.fault = ""
            answered = askers.counts.pop("200")
            told = ", ".join(f"{what}: {times}" for what, times in askers.counts.items())
            more = askers.counts.total() - classifier.held
            ready = get(port, "/readyz").status
            print(f"| {fault} | {answered} | {classifier.held} | {told} | {more} | {ready} |")
            lost += abs(more)
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
