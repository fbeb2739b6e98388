"""Requests at a concurrency, one in ten with a truncated image; every answer is checked.

python -m benchmarks.robustness.mixed_load weights/mumic-demo
"""

import argparse
import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.support.serving import served
from tests.support.photos import NAMES, encoded, sample


async def load(url: str, requests: int, concurrency: int) -> Counter[str]:
    """Send the requests; count what came back for good and for bad images."""
    good = [encoded(sample(name), "JPEG", quality=90) for name in NAMES]
    bad = [photo[: len(photo) // 2] for photo in good]
    counts: Counter[str] = Counter()
    gate = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(
        base_url=url, timeout=120, limits=httpx.Limits(max_connections=concurrency)
    ) as client:

        async def one(number: int) -> None:
            kind, photos = ("bad", bad) if number % 10 == 0 else ("good", good)
            data = photos[number % len(photos)]
            async with gate:
                answer = await client.post(
                    "/predict", content=data, headers={"Content-Type": "image/jpeg"}
                )
            results = answer.json().get("results", [{}])
            code = results[0].get("error", {}).get("code", "labels")
            counts[f"{kind}: {answer.status_code} {code}"] += 1

        await asyncio.gather(*(one(number) for number in range(requests)))
        still = (await client.get("/readyz")).status_code
        counts[f"ready afterwards: {still}"] += 1
    return counts


def main() -> None:
    """Print the counts and the pace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    args = parser.parse_args()
    with served(args.checkpoint) as url:
        started = time.perf_counter()
        counts = asyncio.run(load(url, args.requests, args.concurrency))
        seconds = time.perf_counter() - started
    for what, times in sorted(counts.items()):
        print(f"{what:30} {times}")
    print(f"{args.requests} requests in {seconds:.1f} s")


if __name__ == "__main__":
    main()
