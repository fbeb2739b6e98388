"""Measures the time and the gain of gzip by level, on JSON embeddings.

python -m benchmarks.throughput.compression

One thread. The floats are random, so only the redundancy of their decimal notation is compressed.
"""

import gzip
import time

import numpy as np
from pydantic_core import to_json

LEVELS = (1, 6, 9)
ROUNDS = 15
EMBEDDING_SIZE = 512
KIB_IN_THREAD = 32  # MIN_GZIP_BYTES_IN_THREAD of app/serving/http/middleware.py


def best_ms(body: bytes, level: int) -> float:
    """Return the fastest of `ROUNDS` compressions, in milliseconds."""
    times_s = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        gzip.compress(body, level)
        times_s.append(time.perf_counter() - started)
    return 1000 * min(times_s)


def main() -> None:
    """Print a table of 64 embeddings and of the largest body compressed on the event loop."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((64, EMBEDDING_SIZE), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = to_json(vectors.tolist())
    print("| body, kB | level | ms | compressed to |\n|---:|---:|---:|---:|")
    for body in (whole, whole[: KIB_IN_THREAD * 1024]):
        for level in LEVELS:
            ratio = len(gzip.compress(body, level)) / len(body)
            print(
                f"| {len(body) / 1000:.0f} | {level} | {best_ms(body, level):.1f} | {ratio:.0%} |"
            )


if __name__ == "__main__":
    main()
