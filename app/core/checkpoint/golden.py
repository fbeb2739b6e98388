"""Golden inputs: generated images and fixed texts, with the embeddings that a model must reproduce.

Hashes prove that the files are unchanged. Golden inputs prove that this machine and these library
versions compute the same embeddings from them. They detect errors that no hash can, such as an
activation that changed from QuickGELU to GELU.
"""

import torch
from torch import Tensor

from app.core.checkpoint.card import Golden
from app.core.images import Preprocess, normalize
from app.core.model import MumicModel
from app.errors import CheckpointError

GOLDEN_TEXTS = ("a photo with a swimming pool", "a photo")
# float32 differs by about 1e-6 between machines; a wrong activation changes the embeddings of a
# trained model by far more than the bound. In low precision, only the cosine is comparable.
MAX_DIFFERENCE_FP32 = 5e-4
MIN_COSINE_LOW_PRECISION = 0.99


def golden_images(size_px: int) -> Tensor:
    """Generate four images: three sawtooth gradients and integer noise.

    Args:
        size_px: side in pixels.

    Returns:
        (4, 3, size_px, size_px) uint8, the same on every machine.
    """
    row, column = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    channel = torch.arange(3).view(3, 1, 1)
    gradients = [(column * (k + 1) + row * channel * 3) % 256 for k in range(3)]
    noise = (torch.arange(3 * size_px * size_px) * 2654435761 >> 7) % 256
    return torch.stack([*gradients, noise.view(3, size_px, size_px)]).to(torch.uint8)


@torch.inference_mode()
def embed_golden(model: MumicModel, preprocess: Preprocess) -> Golden:
    """Embed the golden inputs, rounded to six digits.

    Raises:
        CheckpointError: the image tower and the preprocessing differ in the image size.
    """
    if preprocess.size_px != model.image_size_px:
        raise CheckpointError(
            f"preprocess_cfg: size is {preprocess.size_px}, but the image tower takes "
            f"{model.image_size_px}; set size to {model.image_size_px}"
        )
    images = golden_images(preprocess.size_px).to(model.device)
    image_embeddings = model.encode_image(normalize(images, preprocess, model.dtype))
    text_embeddings = model.encode_text(model.tokenize(GOLDEN_TEXTS).to(model.device))
    return Golden(
        image_embeddings=_rounded(image_embeddings), text_embeddings=_rounded(text_embeddings)
    )


def check_golden(model: MumicModel, preprocess: Preprocess, expected: Golden) -> None:
    """Verify a model against the golden embeddings of its checkpoint.

    Raises:
        CheckpointError: an embedding differs by more than its precision allows.
    """
    found = embed_golden(model, preprocess)
    for tower in ("image_embeddings", "text_embeddings"):
        want, have = torch.tensor(getattr(expected, tower)), torch.tensor(getattr(found, tower))
        if want.shape != have.shape:
            raise CheckpointError(
                f"golden {tower}: the checkpoint has shape {tuple(want.shape)}, "
                f"the model returns {tuple(have.shape)}"
            )
        dtype = model.dtype if tower == "image_embeddings" else torch.float32
        if mismatch := _mismatch(want, have, dtype):
            raise CheckpointError(
                f"golden {tower} do not match ({mismatch}): the model computes other embeddings "
                "than when the checkpoint was written. Check the architecture, the activation "
                "(quick_gelu) and the library versions (constraints.txt)"
            )


def is_golden(embedding: Tensor, expected: Golden, dtype: torch.dtype) -> bool:
    """Return whether an embedding matches that of the first golden image.

    Args:
        embedding: (D,) float32, unit length, on the CPU.
        expected: the golden embeddings of the checkpoint.
        dtype: of the image tower.
    """
    return not _mismatch(torch.tensor(expected.image_embeddings[0]), embedding, dtype)


def _mismatch(want: Tensor, have: Tensor, dtype: torch.dtype) -> str:
    """Describe a difference beyond the tolerance of the tower's dtype; empty within it."""
    if dtype == torch.float32:
        difference = (want - have).abs().max().item()
        if difference <= MAX_DIFFERENCE_FP32:
            return ""
        return f"difference {difference:.1e}, at most {MAX_DIFFERENCE_FP32} allowed"
    lowest = (want * have).sum(-1).min().item()
    if lowest >= MIN_COSINE_LOW_PRECISION:
        return ""
    return f"cosine {lowest:.4f}, at least {MIN_COSINE_LOW_PRECISION} required"


def _rounded(rows: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(x, 6) for x in row) for row in rows.float().cpu().tolist())
