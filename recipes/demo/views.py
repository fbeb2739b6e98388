"""All photos as one tensor, and random views of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from app.core.images import Preprocess
from app.dataset.photos import PhotoDataset

MAX_STRETCH = 0.25
MAX_COLOUR = 0.3


def load_all(paths: list[Path], preprocess: Preprocess) -> Tensor:
    """uint8 (N, 3, S, S) pixels, on the path that serving takes."""
    photos = PhotoDataset(paths, preprocess)
    with ThreadPoolExecutor() as threads:
        return torch.stack(list(threads.map(photos.__getitem__, range(len(paths)))))


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count, 1, 1, 1) random values."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def views(
    pixels: Tensor, size_px: int, area: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """A random part of each photo, perhaps mirrored, in somewhat other colours.

    Args:
        pixels: uint8 (B, 3, R, R), R not much above `size_px`.
        size_px: side S of the views.
        area: least and greatest share of the photo.
        generator: of all that is drawn.

    Returns:
        (B, 3, S, S) float32 in [0, 1].
    """
    count = len(pixels)
    share = uniform(count, *area, generator)
    stretch = uniform(count, -MAX_STRETCH, MAX_STRETCH, generator).exp()
    width, height = (share * stretch).sqrt().clamp(max=1), (share / stretch).sqrt().clamp(max=1)
    left = uniform(count, -1, 1, generator) * (1 - width)
    top = uniform(count, -1, 1, generator) * (1 - height)
    mirror = uniform(count, -1, 1, generator).sign()
    zero = torch.zeros_like(width)
    rows = [torch.cat([width * mirror, zero, left], 3), torch.cat([zero, height, top], 3)]
    where = nn.functional.affine_grid(
        torch.cat(rows, 2)[:, 0], [count, 3, size_px, size_px], align_corners=False
    )
    seen = nn.functional.grid_sample(
        pixels.float() / 255, where, padding_mode="reflection", align_corners=False
    )
    return recoloured(seen, generator)


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] with other brightness, contrast and saturation."""
    low, high = 1 - MAX_COLOUR, 1 + MAX_COLOUR
    brightness, contrast, saturation = (
        uniform(len(images), low, high, generator) for _ in range(3)
    )
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * saturation).clamp(0, 1)


def strange_views(pixels: Tensor, count: int, size_px: int, generator: torch.Generator) -> Tensor:
    """Pictures unlike the photos: details, mosaics of four details, and blends of two.

    Args:
        pixels: uint8 (N, 3, R, R) of all photos.
        count: B, how many to make.
        size_px: side S.
        generator: of all that is drawn.

    Returns:
        (B, 3, S, S) float32 in [0, 1].
    """

    def details(many: int, side: int) -> Tensor:
        chosen = torch.randint(len(pixels), (many,), generator=generator)
        return views(pixels[chosen], side, (0.03, 0.4), generator)

    third, half = count // 3, size_px // 2
    four = details(4 * third, half).reshape(third, 2, 2, 3, half, half)
    mosaics = four.permute(0, 3, 1, 4, 2, 5).reshape(third, 3, size_px, size_px)
    first, second = details(third, size_px), details(third, size_px)
    share = uniform(third, 0.3, 0.7, generator)
    blends = share * first + (1 - share) * second
    return torch.cat([details(count - 2 * third, size_px), mosaics, blends])
