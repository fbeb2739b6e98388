"""How far the probabilities of one photo differ between the ways that it can take.

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

from benchmarks.support.serving import served
from tests.support.photos import NAMES, encoded, sample

Scores = dict[str, float]


def ways(client: httpx.Client, data: bytes, others: list[bytes]) -> Iterator[tuple[str, Scores]]:
    """Each way's name and scores of the same photo."""
    form = {"all_scores": "true"}

    def scores(answer: httpx.Response, position: int = 0) -> Scores:
        labels = answer.raise_for_status().json()["results"][position]["labels"]
        return {label["id"]: label["confidence"] for label in labels}

    yield "multipart", scores(client.post("/predict", files=[("images", data)], data=form))
    text = base64.b64encode(data).decode()
    body: dict[str, Any] = {"images": [{"data": text}], "all_scores": True}
    yield "JSON", scores(client.post("/predict", json=body))
    raw = {"Content-Type": "image/jpeg"}
    yield "raw", scores(client.post("/predict", content=data, headers=raw, params=form))
    batch = [("images", photo) for photo in [*others[:16], data, *others[16:]]]
    yield "batch of 32", scores(client.post("/predict", files=batch, data=form), 16)


def command_line(checkpoint: Path, precision: str, data: bytes) -> Scores:
    """What `mumic predict` says, for the labels at their thresholds."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(data)
        command = [sys.executable, "-m", "app.cli", "predict", "--json", str(photo)]
        command += ["--checkpoint", str(checkpoint), "--precision", precision]
        run = subprocess.run(command, capture_output=True, check=True)
    labels = json.loads(run.stdout)["results"][0]["labels"]
    return {label["id"]: label["confidence"] for label in labels}


def main() -> None:
    """Print the largest difference from multipart alone, for each way and photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    photos = {name: encoded(sample(name), "JPEG", quality=90) for name in NAMES}
    with (
        served(args.checkpoint, args.precision) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        for name, data in photos.items():
            others = [photo for other, photo in photos.items() if other != name] * 11
            found = dict(ways(client, data, others[:31]))
            found["mumic predict"] = command_line(args.checkpoint, args.precision, data)
            alone = found.pop("multipart")
            for way, scores in found.items():
                worst = max((abs(scores[id] - alone[id]) for id in scores), default=0.0)
                print(f"{name:8} {way:14} {len(scores):4} labels, differs by at most {worst:.6f}")


if __name__ == "__main__":
    main()
