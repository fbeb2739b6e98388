"""Compares the probabilities of one photo between request formats and `mumic predict`.

python -m benchmarks.throughput.parity weights/mumic-demo
python -m benchmarks.throughput.parity runs/vit-b-32 --precision bf16
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.support.serving import mumic_server
from tests.support.photos import NAMES, encoded, sample

Scores = dict[str, float]


def served_scores(
    client: httpx.Client, data: bytes, others: list[bytes]
) -> Iterator[tuple[str, Scores]]:
    """Yield the name of each request format with the scores of the photo.

    Args:
        client: of a running server.
        data: the photo.
        others: 31 other photos, for a request of 32.
    """
    form = {"all_scores": "true"}

    def scores(response: httpx.Response, position: int = 0) -> Scores:
        return _scores(response.raise_for_status().json(), position)

    yield "multipart", scores(client.post("/predict", files=[("images", data)], data=form))
    text = base64.b64encode(data).decode()
    body: dict[str, Any] = {"images": [{"data": text}], "all_scores": True}
    yield "JSON", scores(client.post("/predict", json=body))
    headers = {"Content-Type": "image/jpeg"}
    yield "raw", scores(client.post("/predict", content=data, headers=headers, params=form))
    batch = [("images", photo) for photo in [*others[:16], data, *others[16:]]]
    yield "batch of 32", scores(client.post("/predict", files=batch, data=form), 16)


def command_line_scores(checkpoint: Path, precision: str, data: bytes) -> Scores:
    """Return the scores of `mumic predict`, which prints labels at or above their thresholds."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(data)
        command = [sys.executable, "-m", "app.cli", "predict", "--json", str(photo)]
        command += ["--checkpoint", str(checkpoint), "--precision", precision]
        run = subprocess.run(command, capture_output=True, check=True)
    return _scores(json.loads(run.stdout), 0)


def _scores(body: dict[str, Any], position: int) -> Scores:
    labels = body["results"][position]["labels"]
    return {label["id"]: label["confidence"] for label in labels}


def main() -> None:
    """Print the largest difference from a multipart request, for each photo and format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    photos = {name: encoded(sample(name), "JPEG", quality=90) for name in NAMES}
    with (
        mumic_server(args.checkpoint, "--precision", args.precision) as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
    ):
        for name, data in photos.items():
            others = [photo for other, photo in photos.items() if other != name] * 11
            found = dict(served_scores(client, data, others[:31]))
            found["mumic predict"] = command_line_scores(args.checkpoint, args.precision, data)
            expected = found.pop("multipart")
            for source, scores in found.items():
                largest = max((abs(scores[id] - expected[id]) for id in scores), default=0.0)
                print(
                    f"{name:8} {source:14} {len(scores):4} labels, largest difference {largest:.6f}"
                )


if __name__ == "__main__":
    main()
