"""Computes feature maps of views of the training photos by the lower stages of the image tower.

The lower stages keep their ImageNet weights, so their output for a view never changes. Computing it
once reduces the cost of a step of `finetune.py` to a fifth. The views of a photo are the whole
photo and random crops, both with random colours and aspect ratios. Synthetic views (details,
mosaics and blends) keep concepts in the model that no photo shows, and drawings show nothing. The
output also contains the ImageNet network's logits for every view.

Views are smaller than the photos that the server shows the model, since crops magnify: Touvron et
al., Fixing the train-test resolution discrepancy, 2019.

Each view of all photos is one file. A file that exists is not computed again, so an interrupted
run continues with the next view.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from drawings import drawings
from imagenet import imagenet_network, lower_and_upper
from manifest import TRAVEL, all_names
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn
from views import load_all, synthetic_views, views

from app.core.images import Preprocess, normalize
from app.core.labels import load_label_set
from app.core.model import fuse_activations, fuse_batch_norms
from app.dataset.manifest import read_manifest

HERE = Path(__file__).parent
STORED = 1.125  # side of the decoded photos, as a multiple of the side of the views
BATCH_SIZE = 32
WHOLE = (0.95, 1.0)  # least and greatest share of a photo in a whole view


@dataclass(frozen=True, slots=True)
class Tower:
    """The ImageNet network in two halves.

    Attributes:
        preprocess: preprocessing of the views.
        lower: images to feature maps.
        upper: feature maps to pooled features.
        classifier: pooled features to logits of 1000 classes.
    """

    preprocess: Preprocess
    lower: nn.Module
    upper: nn.Module
    classifier: nn.Module

    def maps_and_logits(self, images: Tensor) -> dict[str, Tensor]:
        """Return `maps` (B, C, H, W) and `logits` (B, 1000), float16, of images in [0, 1]."""
        pixels = (images * 255).round().byte()
        maps = self.lower(normalize(pixels, self.preprocess, torch.float32))
        return {"maps": maps.half(), "logits": self.classifier(self.upper(maps)).half()}


def concatenated(results: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join the tensors of batches."""
    return {key: torch.cat([each[key] for each in results]).contiguous() for key in results[0]}


@torch.inference_mode()
def main() -> None:
    """Write `maps` and `logits`: a file per view of the training photos, and two more files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--size-px", type=int, default=224, help="side of the views")
    parser.add_argument("--stages", type=int, default=4, help="frozen stages, of seven")
    parser.add_argument("--views", type=int, default=3, help="views of each photo, the first whole")
    parser.add_argument("--older-only", action="store_true", help="no views of travel photos")
    parser.add_argument("--least-area", type=float, default=0.35, help="least share of a crop")
    parser.add_argument("--strange", type=int, default=3000, help="number of synthetic views")
    parser.add_argument("--drawings", type=int, default=700, help="number of drawn images")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    config = json.loads((HERE / "model_config.json").read_text())["preprocess_cfg"]
    config["size"] = [args.size_px, args.size_px]
    preprocess = Preprocess.from_config(config, exif_orientation=True)
    names = all_names(load_label_set(args.labels))
    manifest = read_manifest(args.manifest, args.photos, names)
    rows = [
        row
        for row in manifest
        if row.split == "train" and not (args.older_only and row.file.startswith(f"{TRAVEL}/"))
    ]
    stored = replace(preprocess, size_px=round(STORED * args.size_px))
    pixels = load_all([args.photos / row.file for row in rows], stored)
    validation = [args.photos / row.file for row in manifest if row.split == "validation"]
    network = imagenet_network(args.tower)
    fuse_batch_norms(network)
    fuse_activations(network)
    tower = Tower(preprocess, *lower_and_upper(network, args.stages), network.classifier)
    metadata = {"files": json.dumps([row.file for row in rows]), "stages": str(args.stages)}

    def plain() -> Iterator[Tensor]:
        for batch in torch.split(load_all(validation, preprocess), BATCH_SIZE):
            yield batch.float() / 255

    def of_photos(view: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(view)
        area = (args.least_area, 1.0) if view else WHOLE
        for batch in torch.split(pixels, BATCH_SIZE):
            yield views(batch, args.size_px, area, generator)

    def synthetic() -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(args.views)
        for _ in range(args.strange // BATCH_SIZE):
            yield synthetic_views(pixels, BATCH_SIZE, args.size_px, generator)

    def drawn() -> Iterator[Tensor]:
        yield from torch.split(drawings(args.drawings, args.size_px, seed=0), BATCH_SIZE)

    sources = {"validation": plain, "synthetic": synthetic, "drawings": drawn} | {
        f"view-{view}": partial(of_photos, view) for view in range(args.views)
    }
    for name, source in sources.items():
        path = args.out / f"{name}.safetensors"
        if not path.exists():
            results = [tower.maps_and_logits(images) for images in track(source(), name)]
            save_file(concatenated(results), path, metadata=metadata)
    print(f"{args.views} views of {len(rows)} photos in {args.out}")


if __name__ == "__main__":
    main()
