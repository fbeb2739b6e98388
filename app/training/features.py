"""What a frozen image tower makes of each photo, computed once and kept on disk."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from app.core.model import MumicModel
from app.core.preprocess import Preprocess, normalize
from app.dataset.photos import Photos
from app.errors import OptionError

BATCH_SIZE = 64


def trunk_and_head(model: MumicModel) -> tuple[nn.Module, nn.Module]:
    """The two stages of a timm image tower: pooled features, and their projection.

    Raises:
        OptionError: the tower has no such stages.
    """
    visual = model.clip.visual
    if not hasattr(visual, "trunk") or not hasattr(visual, "head"):
        raise OptionError("freeze-image", "needs an image tower from timm, with a trunk and a head")
    return visual.trunk, visual.head


@torch.no_grad()
def cached_features(
    model: MumicModel,
    paths: Sequence[Path],
    preprocess: Preprocess,
    cache: Path,
    *,
    progress: Progress,
    workers: int = 0,
    pixels: Tensor | None = None,
) -> Tensor:
    """Features of each photo and of its mirror image by the frozen trunk.

    Args:
        model: with a timm image tower.
        paths: N photos.
        preprocess: the checkpoint's.
        cache: a file that is read when it was made from the same weights and photos, else written.
        progress: where the time left is shown.
        workers: processes that load photos.
        pixels: (N, 3, S, S) uint8, photos that are decoded already.

    Returns:
        (2, N, F) float32 on the CPU, plain and mirrored.
    """
    trunk, _ = trunk_and_head(model)
    key = _key(trunk, paths, preprocess)
    if cache.is_file():
        with safe_open(cache, framework="pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return load_file(cache)["features"]
    trunk.eval()
    photos = Photos(paths, preprocess, pixels=pixels)
    batches = DataLoader(photos, batch_size=BATCH_SIZE, num_workers=workers)
    rows = []
    for batch in progress.track(batches, description="features"):
        images = normalize(batch.to(model.device), preprocess, torch.float32)
        rows.append(torch.stack([trunk(images), trunk(images.flip(-1))]).cpu())
    features = torch.cat(rows, dim=1)
    cache.parent.mkdir(parents=True, exist_ok=True)
    save_file({"features": features}, cache, metadata={"key": key})
    return features


def _key(trunk: nn.Module, paths: Sequence[Path], preprocess: Preprocess) -> str:
    digest = hashlib.sha256(repr(preprocess).encode())
    for path in paths:
        digest.update(f"{path} {path.stat().st_size}\n".encode())
    for name, weight in trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
