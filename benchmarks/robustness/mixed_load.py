"""Sends concurrent requests, one in ten with a truncated image, and counts the responses.

python -m benchmarks.robustness.mixed_load weights/mumic-demo
"""

import argparse
import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.support.serving import mumic_server
from tests.support.photos import NAMES, encoded, sample


async def load(url: str, requests: int, concurrency: int) -> Counter[str]:
    """Send the requests; count the responses to valid and to truncated images.

    Args:
        url: base URL of the server.
        requests: number of requests.
        concurrency: requests in flight.
    """
    valid = [encoded(sample(name), "JPEG", quality=90) for name in NAMES]
    truncated = [photo[: len(photo) // 2] for photo in valid]
    counts: Counter[str] = Counter()
    semaphore = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(
        base_url=url, timeout=120, limits=httpx.Limits(max_connections=concurrency)
    ) as client:

        async def send(number: int) -> None:
            kind, photos = ("truncated", truncated) if number % 10 == 0 else ("valid", valid)
            data = photos[number % len(photos)]
            async with semaphore:
                response = await client.post(
                    "/predict", content=data, headers={"Content-Type": "image/jpeg"}
                )
            results = response.json().get("results", [{}])
            code = results[0].get("error", {}).get("code", "labels")
            counts[f"{kind}: {response.status_code} {code}"] += 1

        await asyncio.gather(*(send(number) for number in range(requests)))
        ready = (await client.get("/readyz")).status_code
        counts[f"/readyz afterwards: {ready}"] += 1
    return counts


def main() -> None:
    """Print the counts and the duration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    args = parser.parse_args()
    with mumic_server(args.checkpoint) as server:
        started = time.perf_counter()
        counts = asyncio.run(load(server.url, args.requests, args.concurrency))
        seconds = time.perf_counter() - started
    for outcome, number in sorted(counts.items()):
        print(f"{outcome:40} {number}")
    print(f"{args.requests} requests in {seconds:.1f} s")


if __name__ == "__main__":
    main()
