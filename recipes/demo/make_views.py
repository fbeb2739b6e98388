"""Carry views of the training photos through the lower stages of the image tower, once.

The lower stages stay as ImageNet made them, so what they make of a view never changes, and a step
of `finetune.py` costs a fifth of what it would. Each photo is seen whole once, and in parts and in
other colours; strange pictures (details, mosaics and blends) join them, so that what no photo
shows is not forgotten. Of each the ImageNet network says what it sees.
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
from views import load_all, strange_views, views

from app.core.checkpoint import read_checkpoint
from app.core.images import normalize
from app.dataset.manifest import load_names, read_manifest

HERE = Path(__file__).parent
STORED = 1.125  # side of the decoded photos over that of the views
BATCH_SIZE = 32
WHOLE = (0.95, 1.0)  # least and greatest share of a photo that is seen
STRANGE = -1  # instead of a photo's position


@torch.inference_mode()
def main() -> None:
    """Write `maps` (V, C, H, W), `logits` (V, 1000) and `photos` (V,), positions of `files`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="of make_init.py")
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a safetensors file")
    parser.add_argument("--stages", type=int, default=4, help="of seven, that stay as they are")
    parser.add_argument("--views", type=int, default=5, help="of each photo, one of them whole")
    parser.add_argument("--least-area", type=float, default=0.35, help="share that a part shows")
    parser.add_argument("--strange", type=int, default=3000, help="pictures unlike the photos")
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

    def seen(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = lower(normalize((images * 255).round().byte(), start.preprocess, torch.float32))
        return maps.half(), network.classifier(upper(maps)).half()

    everyone = torch.arange(len(rows))
    results: list[tuple[Tensor, Tensor]] = []
    order: list[Tensor] = []
    for turn in range(args.views):
        area = (args.least_area, 1.0) if turn else WHOLE
        for chosen in track(torch.split(everyone, BATCH_SIZE), f"view {turn + 1} of {args.views}"):
            results.append(seen(views(pixels[chosen], size_px, area, generator)))
            order.append(chosen)
    for _ in track(range(args.strange // BATCH_SIZE), "strange pictures"):
        results.append(seen(strange_views(pixels, BATCH_SIZE, size_px, generator)))
        order.append(torch.full((BATCH_SIZE,), STRANGE))
    maps, logits = (torch.cat(part) for part in zip(*results, strict=True))
    save_file(
        {"maps": maps.contiguous(), "logits": logits, "photos": torch.cat(order)},
        args.out,
        metadata={"files": json.dumps([row.file for row in rows]), "stages": str(args.stages)},
    )
    print(f"{len(maps)} views of {len(rows)} photos, {tuple(maps.shape[1:])} each")


if __name__ == "__main__":
    main()
