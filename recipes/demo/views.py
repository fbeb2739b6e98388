"""Photos as one tensor, and random views of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from app.core.images import Preprocess
from app.dataset.photos import PhotoDataset

MAX_STRETCH = 0.4  # most photo sets were squashed to a square: vary the aspect ratio
MAX_COLOUR = 0.3


def load_all(paths: list[Path], preprocess: Preprocess) -> Tensor:
    """Load uint8 (N, 3, S, S) pixels with the preprocessing of the server."""
    photos = PhotoDataset(paths, preprocess)
    with ThreadPoolExecutor() as threads:
        return torch.stack(list(threads.map(photos.__getitem__, range(len(paths)))))


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw (count, 1, 1, 1) random values between `low` and `high`."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def views(
    pixels: Tensor, size_px: int, area: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw a random crop of each photo, mirrored with probability 0.5, with changed colours.

    Args:
        pixels: uint8 (B, 3, R, R), with R slightly above `size_px`.
        size_px: side S of the views.
        area: least and greatest share of the photo.
        generator: source of all random values.

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
    grid = nn.functional.affine_grid(
        torch.cat(rows, 2)[:, 0], [count, 3, size_px, size_px], align_corners=False
    )
    crops = nn.functional.grid_sample(
        pixels.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    return change_colours(crops, generator)


def change_colours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Randomly change brightness, contrast and saturation of images (B, 3, S, S) in [0, 1]."""
    low, high = 1 - MAX_COLOUR, 1 + MAX_COLOUR
    brightness, contrast, saturation = (
        uniform(len(images), low, high, generator) for _ in range(3)
    )
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * saturation).clamp(0, 1)


def synthetic_views(pixels: Tensor, count: int, size_px: int, generator: torch.Generator) -> Tensor:
    """Draw details of photos, mosaics of four details and blends of two, a third of each.

    Args:
        pixels: uint8 (N, 3, R, R) of all photos.
        count: number B of views.
        size_px: side S of the views.
        generator: source of all random values.

    Returns:
        (B, 3, S, S) float32 in [0, 1].
    """

    def details(number: int, side_px: int) -> Tensor:
        chosen = torch.randint(len(pixels), (number,), generator=generator)
        return views(pixels[chosen], side_px, (0.03, 0.4), generator)

    third, half = count // 3, size_px // 2
    four = details(4 * third, half).reshape(third, 2, 2, 3, half, half)
    mosaics = four.permute(0, 3, 1, 4, 2, 5).reshape(third, 3, size_px, size_px)
    first, second = details(third, size_px), details(third, size_px)
    share = uniform(third, 0.3, 0.7, generator)
    blends = share * first + (1 - share) * second
    return torch.cat([details(count - 2 * third, size_px), mosaics, blends])
