"""Ray Serve with its documented batching, and one replica of one CPU per core.

Tried on two cores with the shipped checkpoint and photos of 0.3 MP, 2 s per workload. images/s with
one photo per request at concurrency 1, 8 and 64; and with 32 per request at concurrency 1:

- 1 replica of two CPUs, batches of 4, 10 ms, the model in the event loop: 9, 14, 14; 18
- 2 replicas of one CPU, otherwise the same: 11, 21, 26; 17
- 2 replicas of one CPU, the model in a thread: 11, 23, 23; 19
- the same with 1 ms: 13, 24, 27; 17 (used)

ViT-B-32, the same: 8, 15, 15; 11. ViT-B-32, 1 replica, batches of 8, 10 ms: 9, 16, 15; 20.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray import serve
from starlette.requests import Request
from torch import Tensor

from benchmarks.systems.tagger import PhotoResult, Tagger, arguments, uploads

MAX_BATCH_SIZE = 4
BATCH_WAIT_S = 0.001
CORES = os.cpu_count() or 1


class Photos:
    """A replica, which decodes in threads and batches photos, not requests.

    Args:
        checkpoint: checkpoint directory.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._tagger = Tagger(checkpoint)

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)
    async def tag(self, photos: list[Tensor]) -> list[PhotoResult]:
        """Tag a batch of (3, S, S) photos in a thread."""
        return await asyncio.to_thread(self._tagger.tag, torch.stack(photos))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Return the response body of one request."""
        async with request.form() as form:
            files = [await file.read() for file in uploads(form)]

        async def one(data: bytes) -> PhotoResult:
            result: PhotoResult = await self.tag(await asyncio.to_thread(self._tagger.decode, data))
            return result

        return {"results": await asyncio.gather(*map(one, files))}


if __name__ == "__main__":
    args = arguments(__doc__)
    # By default, Ray lowers the priority of its workers below that of the client.
    os.environ.update(RAY_worker_niceness="0")
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": args.port})
    deployment = serve.deployment(
        Photos,
        num_replicas=CORES,
        # Also sets the number of torch threads of the replica.
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=256,
    )
    serve.run(deployment.bind(args.checkpoint.resolve()), route_prefix="/predict")
    while True:
        time.sleep(3600)
