"""Ray Serve, its batching as its documentation has it, a replica of one CPU for each core.

Tried on two cores with the shipped checkpoint and photos of 0.3 MP, 2 s a cell; images/s with one
photo a request at concurrency 1, 8 and 64, and with 32 at concurrency 1:

- 1 replica of two CPUs, batches of 4, 10 ms, the model in the event loop: 9, 14, 14; 18
- 2 replicas of one, the same: 11, 21, 26; 17
- 2 replicas of one, the model in a thread: 11, 23, 23; 19
- the same with 1 ms: 13, 24, 27; 17 (taken)

With a ViT-B-32, this gave 8, 15, 15; 11, and 1 replica with batches of 8 and 10 ms gave
9, 16, 15; 20.
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

from benchmarks.systems.tagger import Answer, Tagger, arguments, uploads

MAX_BATCH_SIZE = 4
BATCH_WAIT_S = 0.001
CORES = os.cpu_count() or 1


class Photos:
    """A replica: decodes in threads, batches photos, not requests.

    Args:
        checkpoint: checkpoint directory.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._tagger = Tagger(checkpoint)

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)
    async def tag(self, photos: list[Tensor]) -> list[Answer]:
        """The answers for a batch of (3, S, S) photos, beside the event loop."""
        return await asyncio.to_thread(self._tagger.tag, torch.stack(photos))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request."""
        async with request.form() as form:
            files = [await file.read() for file in uploads(form)]

        async def one(data: bytes) -> Answer:
            answer: Answer = await self.tag(await asyncio.to_thread(self._tagger.decode, data))
            return answer

        return {"results": await asyncio.gather(*map(one, files))}


if __name__ == "__main__":
    args = arguments(__doc__)
    # Ray lowers its workers' priority; here they would give way to the client.
    os.environ.update(RAY_worker_niceness="0")
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": args.port})
    deployment = serve.deployment(
        Photos,
        num_replicas=CORES,
        # Ray lets torch use as many threads as the replica has CPUs.
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=256,
    )
    serve.run(deployment.bind(args.checkpoint.resolve()), route_prefix="/predict")
    while True:
        time.sleep(3600)
