"""The result of embedding one photo."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedImage:
    """One embedded photo.

    Attributes:
        embedding: (D,) float32, unit length.
        logits: (C,) float32, for the label set.
        width: the photo's original width in pixels, after EXIF orientation.
        height: the photo's original height in pixels, after EXIF orientation.
    """

    embedding: Tensor
    logits: Tensor
    width: int
    height: int
