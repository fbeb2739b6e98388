"""LitServe with its documented batching, and one worker per core as its documentation advises.

Tried on two cores with the shipped checkpoint and photos of 0.3 MP, 2 s per workload. images/s with
one photo per request at concurrency 1, 8 and 64; and with 32 per request at concurrency 1:

- 1 worker, batches of 32, 10 ms: 9, 11, 8; 8
- 1 worker, batches of 4, 1 ms: 10, 24, 21; 25
- 2 workers of one thread, batches of 4, 1 ms: 15, 32, 32; 18 (used)

ViT-B-32, 2 such workers: 8, 23, 24; 13. ViT-B-32, 1 worker, batches of 8, 10 ms: 13, 23, 23; 25.
"""

import os
from pathlib import Path
from typing import cast

import litserve
import torch
from starlette.datastructures import FormData
from starlette.requests import Request
from torch import Tensor

from benchmarks.systems.tagger import PhotoResult, Tagger, arguments, uploads

MAX_BATCH_SIZE = 4
BATCH_TIMEOUT_S = 0.001
WORKERS = os.cpu_count() or 1


class PhotoAPI(litserve.LitAPI):
    """Serves requests of any number of photos; LitServe batches requests, not photos.

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
        torch.set_num_threads(1)  # one worker per core
        self._tagger = Tagger(self._checkpoint)

    def decode_request(self, request: Request) -> Tensor:
        """Decode the photos of one request to (K, 3, S, S) float32."""
        # Because of the annotation, LitServe passes the form of a multipart request.
        files = uploads(cast(FormData, request))
        return torch.stack([self._tagger.decode(file.file.read()) for file in files])

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the photos by request; `predict` concatenates them."""
        return inputs

    def predict(self, inputs: list[Tensor]) -> list[list[PhotoResult]]:
        """Tag the photos of all requests together; return the results by request."""
        results = iter(self._tagger.tag(torch.cat(inputs)))
        return [[next(results) for _ in photos] for photos in inputs]

    def unbatch(self, output: list[list[PhotoResult]]) -> list[list[PhotoResult]]:
        """Return the results by request."""
        return output

    def encode_response(self, output: list[PhotoResult]) -> dict[str, list[PhotoResult]]:
        """Return the response body of one request."""
        return {"results": output}


if __name__ == "__main__":
    args = arguments(__doc__)
    server = litserve.LitServer(
        PhotoAPI(args.checkpoint), accelerator="cpu", workers_per_device=WORKERS, timeout=False
    )
    server.run(host="127.0.0.1", port=args.port, generate_client_file=False, log_level="warning")
