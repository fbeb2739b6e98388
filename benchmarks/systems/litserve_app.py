"""LitServe, its batching as its documentation has it, and a worker for each core as it advises.

Tried on two cores with the shipped checkpoint and photos of 0.3 MP, 2 s a cell; images/s with one
photo a request at concurrency 1, 8 and 64, and with 32 at concurrency 1:

- 1 worker, batches of 32, 10 ms: 9, 11, 8; 8
- 1 worker, batches of 4, 1 ms: 10, 24, 21; 25
- 2 workers of one thread, batches of 4, 1 ms: 15, 32, 32; 18 (taken)

With a ViT-B-32, 2 such workers gave 8, 23, 24; 13, and 1 worker with batches of 8 and 10 ms gave
13, 23, 23; 25.
"""

import os
from pathlib import Path
from typing import cast

import litserve
import torch
from starlette.datastructures import FormData
from starlette.requests import Request
from torch import Tensor

from benchmarks.systems.tagger import Answer, Tagger, arguments, uploads

MAX_BATCH_SIZE = 4
BATCH_TIMEOUT_S = 0.001
WORKERS = os.cpu_count() or 1


class PhotoAPI(litserve.LitAPI):
    """One request is one input, however many photos it carries.

    Args:
        checkpoint: checkpoint directory.
    """

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
        self._checkpoint = checkpoint

    def setup(self, device: str) -> None:
        """Load the model in the worker's process."""
        if not device.startswith("cpu"):
            raise ValueError(f"the comparison is on the CPU, not on {device}")
        torch.set_num_threads(1)  # the other workers have the other cores
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
