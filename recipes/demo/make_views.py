"""Computes feature maps of views of the training photos by the lower stages of the image tower.

The lower stages keep their ImageNet weights, so their output for a view never changes. Computing it
once reduces the cost of a step of `finetune.py` to a fifth. The views of a photo are the whole
photo and random crops, both with random colours. Synthetic views (details, mosaics and blends) keep
concepts in the model that no photo shows. The output also contains the ImageNet network's logits
for every view.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from imagenet import imagenet_network, lower_and_upper
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from views import load_all, synthetic_views, views

from app.core.checkpoint import read_checkpoint
from app.core.images import normalize
from app.dataset.manifest import load_names, read_manifest

HERE = Path(__file__).parent
STORED = 1.125  # side of the decoded photos, as a multiple of the side of the views
BATCH_SIZE = 32
WHOLE = (0.95, 1.0)  # least and greatest share of a photo in a whole view
SYNTHETIC = -1  # index of a synthetic view's photo


@torch.inference_mode()
def main() -> None:
    """Write `maps` (V, C, H, W), `logits` (V, 1000) and `photos` (V,), indices into `files`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="output of make_init.py")
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a safetensors file")
    parser.add_argument("--stages", type=int, default=4, help="frozen stages, of seven")
    parser.add_argument(
        "--views", type=int, default=5, help="views of each photo, one of them whole"
    )
    parser.add_argument("--least-area", type=float, default=0.35, help="least share of a crop")
    parser.add_argument("--strange", type=int, default=3000, help="number of synthetic views")
    args = parser.parse_args()
    start = read_checkpoint(args.start)
    size_px = start.preprocess.size_px
    names = load_names(HERE / "names.yaml", start.labels)
    rows = [r for r in read_manifest(args.manifest, args.photos, names) if r.split == "train"]
    stored = replace(start.preprocess, size_px=round(STORED * size_px))
    pixels = load_all([args.photos / row.file for row in rows], stored)
    network = imagenet_network(args.tower)
    lower, upper = lower_and_upper(network, args.stages)
    generator = torch.Generator().manual_seed(0)

    def maps_and_logits(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = lower(normalize((images * 255).round().byte(), start.preprocess, torch.float32))
        return maps.half(), network.classifier(upper(maps)).half()

    batches = torch.split(torch.arange(len(rows)), BATCH_SIZE)
    results: list[tuple[Tensor, Tensor]] = []
    order: list[Tensor] = []
    for view in range(args.views):
        area = (args.least_area, 1.0) if view else WHOLE
        for chosen in track(batches, f"view {view + 1} of {args.views}"):
            results.append(maps_and_logits(views(pixels[chosen], size_px, area, generator)))
            order.append(chosen)
    for _ in track(range(args.strange // BATCH_SIZE), "synthetic views"):
        results.append(maps_and_logits(synthetic_views(pixels, BATCH_SIZE, size_px, generator)))
        order.append(torch.full((BATCH_SIZE,), SYNTHETIC))
    maps, logits = (torch.cat(tensors) for tensors in zip(*results, strict=True))
    save_file(
        {"maps": maps.contiguous(), "logits": logits, "photos": torch.cat(order)},
        args.out,
        metadata={"files": json.dumps([row.file for row in rows]), "stages": str(args.stages)},
    )
    print(f"{len(maps)} views of {len(rows)} photos, {tuple(maps.shape[1:])} each")


if __name__ == "__main__":
    main()
