"""Features of photos by a frozen image tower, computed once and cached on disk."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader

from app.core.files import atomic_file
from app.core.images import Preprocess, decoder_fingerprint, normalize
from app.core.model import MumicModel
from app.dataset.photos import PhotoDataset, iterate_batches
from app.errors import DataError, OptionError

BATCH_SIZE = 64


def trunk_and_head(model: MumicModel) -> tuple[nn.Module, nn.Module]:
    """Split a timm image tower into its trunk (pooled features) and its head (projection).

    Raises:
        OptionError: the tower is not from timm.
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
        model: has a timm image tower.
        paths: N photos.
        preprocess: the checkpoint's.
        cache: is read if it holds the features of the same weights and photos, decoded by the same
            code, else written.
        progress: shows the time left.
        workers: processes that load photos.
        pixels: (N, 3, S, S) uint8, the decoded photos, if they are in memory.

    Returns:
        (2, N, F) float32 on the CPU, of the photos and of their mirror images.

    Raises:
        DataError: a photo or the existing cache file cannot be used.
        DiskError: the file cannot be written, as on a full disk.
    """
    trunk, _ = trunk_and_head(model)
    key = _key(trunk, paths, preprocess)
    if (found := _read(cache, key)) is not None:
        return found
    trunk.eval()
    photos = PhotoDataset(paths, preprocess, pixels=pixels)
    batches = DataLoader(photos, batch_size=BATCH_SIZE, num_workers=workers)
    rows = []
    for batch in progress.track(
        iterate_batches(batches), total=len(batches), description="features"
    ):
        images = normalize(batch.to(model.device), preprocess, torch.float32)
        rows.append(torch.stack([trunk(images), trunk(images.flip(-1))]).cpu())
    features = torch.cat(rows, dim=1)
    with atomic_file(cache) as file:
        file.write(save({"features": features}, metadata={"key": key}))
    return features


def _read(cache: Path, key: str) -> Tensor | None:
    if not cache.is_file():
        return None
    try:
        with safe_open(cache, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            features: Tensor = file.get_tensor("features")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{cache}: not a file of features: {error}; delete it") from error
    return features


def _key(trunk: nn.Module, paths: Sequence[Path], preprocess: Preprocess) -> str:
    digest = hashlib.sha256(repr((preprocess, decoder_fingerprint())).encode())
    for path in paths:
        digest.update(f"{path} {path.stat().st_size}\n".encode())
    for name, weight in trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
