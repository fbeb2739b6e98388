"""Scores the 80 COCO classes on every photo with a small detector, for pseudo-labels.

The detector is PicoDet-S at 416 x 416, as an ONNX file. The score of a class is its maximum over
all anchors. Writes `detections.safetensors` (N, 80), in the order of `coco_classes.txt`.
"""

import argparse
import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from app.core.images import Preprocess
from app.dataset.photos import PhotoDataset

SIZE_PX = 416
MEAN = np.array([103.53, 116.28, 123.675], dtype=np.float32)[:, None, None]  # blue, green, red
STD = np.array([57.375, 57.12, 58.395], dtype=np.float32)[:, None, None]
SCORES = 4  # outputs with class scores, one per feature level; boxes follow
PREPROCESS = {
    "size": [SIZE_PX, SIZE_PX],
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bilinear",
    "resize_mode": "squash",
    "fill_color": 0,
}


def class_scores(
    session: onnxruntime.InferenceSession, pixels: torch.Tensor
) -> NDArray[np.float32]:
    """Return the (80,) largest score of each class, in [0, 1], of uint8 RGB pixels (3, S, S)."""
    image = (pixels.numpy()[::-1].astype(np.float32) - MEAN) / STD
    outputs = session.run(None, {"image": image[None]})[:SCORES]
    scores: NDArray[np.float32] = np.concatenate([each[0] for each in outputs]).max(axis=0)
    return scores


def main() -> None:
    """Write the scores of all photos of a manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("detector", "manifest", "photos", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    with args.manifest.open(encoding="utf-8", newline="") as lines:
        files = [row["file"] for row in csv.DictReader(lines)]
    preprocess = Preprocess.from_config(PREPROCESS, exif_orientation=True)
    photos = PhotoDataset([args.photos / file for file in files], preprocess)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors: the file makes the runtime warn of every initializer
    session = onnxruntime.InferenceSession(args.detector, options)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        found = threads.map(lambda i: class_scores(session, photos[i]), range(len(files)))
        scores = np.stack(list(track(found, "detector", total=len(files))))
    save_file({"scores": torch.from_numpy(scores)}, args.out, metadata={"files": json.dumps(files)})
    print(f"{len(files)} photos; mean of the largest score {scores.max(axis=1).mean():.2f}")


if __name__ == "__main__":
    main()
