"""The result of embedding one photo."""

from dataclasses import dataclass

from torch import Tensor

from app.applications.gallery import Quality


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedImage:
    """One embedded photo.

    Attributes:
        embedding: (D,) float32, unit length.
        logits: (C,) float32, for the label set.
        width: the photo's original width in pixels, after EXIF orientation.
        height: the photo's original height in pixels, after EXIF orientation.
        quality: for a gallery; None if no request has asked for it.
    """

    embedding: Tensor
    logits: Tensor
    width: int
    height: int
    quality: Quality | None = None

    @property
    def measured_quality(self) -> Quality:
        """The quality of an image that was embedded with it."""
        if self.quality is None:
            raise ValueError("the image was embedded without its quality")
        return self.quality
