"""LitServe, its batching as its documentation has it."""

import os
from pathlib import Path
from typing import cast

import litserve
import torch
from starlette.datastructures import FormData
from starlette.requests import Request
from torch import Tensor

from benchmarks.systems.tagger import Answer, Tagger, arguments, uploads

MAX_BATCH_SIZE = 32
BATCH_TIMEOUT_S = 0.01
CORES = os.cpu_count() or 1
WORKERS = 1


class PhotoAPI(litserve.LitAPI):
    """One request is one input, however many photos it carries.

    Args:
        checkpoint: checkpoint directory.
    """

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
        self._checkpoint = checkpoint

    def setup(self, device: str) -> None:  # noqa: ARG002 - the CPU
        """Load the model in the worker's process."""
        torch.set_num_threads(max(1, CORES // WORKERS))
        self._tagger = Tagger(self._checkpoint)

    def decode_request(self, request: Request) -> Tensor:
        """(K, 3, S, S) float32, the photos of one request."""
        # LitServe goes by the annotation, and hands over a multipart request's form.
        files = uploads(cast(FormData, request))
        return torch.stack([self._tagger.decode(file.file.read()) for file in files])

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """The requests' photos, which `predict` puts together: it has to know whose they are."""
        return inputs

    def predict(self, inputs: list[Tensor]) -> list[list[Answer]]:
        """The answers of each request, from one pass over the photos of all."""
        answers = iter(self._tagger.tag(torch.cat(inputs)))
        return [[next(answers) for _ in photos] for photos in inputs]

    def unbatch(self, output: list[list[Answer]]) -> list[list[Answer]]:
        """The answers of each request, as they are."""
        return output

    def encode_response(self, output: list[Answer]) -> dict[str, list[Answer]]:
        """One request's answer."""
        return {"results": output}


if __name__ == "__main__":
    args = arguments(__doc__)
    server = litserve.LitServer(
        PhotoAPI(args.checkpoint), accelerator="cpu", workers_per_device=WORKERS, timeout=False
    )
    server.run(host="127.0.0.1", port=args.port, generate_client_file=False, log_level="warning")
