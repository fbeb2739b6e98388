"""Golden inputs: images made by code, and the embeddings that a checkpoint gives for them.

A hash proves that the files are those that were written; the golden inputs prove that this
machine and these libraries compute the same with them. They catch what no hash sees, such as
an activation that changed from QuickGELU to GELU.
"""

import torch
from torch import Tensor

from app.core.checkpoint.card import Golden
from app.core.images import Preprocess, normalize
from app.core.model import MumicModel
from app.errors import CheckpointError

GOLDEN_TEXTS = ("a photo with a swimming pool", "a photo")
# Between machines float32 differs by about 1e-6; a wrong activation moves a trained model by
# far more than the bound. Low precision keeps directions, not digits.
MAX_DIFFERENCE_FP32 = 5e-4
MIN_COSINE_LOW_PRECISION = 0.99


def golden_images(size_px: int) -> Tensor:
    """Four images that need no file: three sawtooth gradients and integer noise.

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
    """What a model gives for the golden inputs, rounded to six digits.

    Raises:
        CheckpointError: the image tower takes another size than the preprocessing makes.
    """
    if preprocess.size_px != model.image_size_px:
        raise CheckpointError(
            f"preprocess_cfg: size is {preprocess.size_px}, but the image tower takes "
            f"{model.image_size_px}; write the tower's"
        )
    images = golden_images(preprocess.size_px).to(model.device)
    image_embeddings = model.encode_image(normalize(images, preprocess, model.dtype))
    text_embeddings = model.encode_text(model.tokenize(GOLDEN_TEXTS).to(model.device))
    return Golden(
        image_embeddings=_rounded(image_embeddings), text_embeddings=_rounded(text_embeddings)
    )


def check_golden(model: MumicModel, preprocess: Preprocess, expected: Golden) -> None:
    """Hold a model against the embeddings that its checkpoint promises.

    Raises:
        CheckpointError: an embedding is off by more than the precision allows.
    """
    found = embed_golden(model, preprocess)
    for tower in ("image_embeddings", "text_embeddings"):
        want, have = torch.tensor(getattr(expected, tower)), torch.tensor(getattr(found, tower))
        if want.shape != have.shape:
            raise CheckpointError(
                f"golden {tower}: the checkpoint promises {tuple(want.shape)}, "
                f"the model gives {tuple(have.shape)}"
            )
        if how := _off(want, have, model.dtype if tower == "image_embeddings" else torch.float32):
            raise CheckpointError(
                f"golden {tower} do not match ({how}): the model does not compute what it did "
                "when the checkpoint was written. Is it the same architecture and activation "
                "(quick_gelu), and are the library versions those of constraints.txt?"
            )


def is_golden(embedding: Tensor, expected: Golden, dtype: torch.dtype) -> bool:
    """Whether an embedding of the first golden image is the one that a checkpoint promises.

    Args:
        embedding: (D,) float32, unit length, on the CPU.
        expected: what the checkpoint promises.
        dtype: of the image tower.
    """
    return not _off(torch.tensor(expected.image_embeddings[0]), embedding, dtype)


def _off(want: Tensor, have: Tensor, dtype: torch.dtype) -> str:
    """How embeddings are further off than their tower's dtype allows; empty where they are not."""
    if dtype == torch.float32:
        difference = (want - have).abs().max().item()
        if difference <= MAX_DIFFERENCE_FP32:
            return ""
        return f"off by {difference:.1e}, at most {MAX_DIFFERENCE_FP32} allowed"
    worst = (want * have).sum(-1).min().item()
    if worst >= MIN_COSINE_LOW_PRECISION:
        return ""
    return f"cosine {worst:.4f}, at least {MIN_COSINE_LOW_PRECISION} wanted"


def _rounded(rows: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(x, 6) for x in row) for row in rows.float().cpu().tolist())
