"""What a model makes of a part of the photos."""

import torch
from torch import Tensor

from app.core.model import MumicModel
from app.core.preprocess import Preprocess
from app.core.scoring import cosines, tempered_sigmoid
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import Part
from app.evaluation.embedding import embed_photos, embed_texts


@torch.no_grad()
def score_part(
    model: MumicModel,
    preprocess: Preprocess,
    data: LabelledPhotos,
    part: Part,
    *,
    workers: int = 0,
) -> Tensor:
    """Probability of every text of the data on every photo of a part (equation 2).

    Args:
        model: the towers; its mode is left as evaluation.
        preprocess: the checkpoint's.
        data: the photos, and the L texts.
        part: which of the photos, n of them, at least one.
        workers: processes that load photos.

    Returns:
        (n, L) float32 in [0, 1], on the CPU.
    """
    paths = [data.photos / data.files[i] for i in data.indices(part)]
    images = embed_photos(model, preprocess, paths, workers=workers)
    texts = embed_texts(model, model.tokenize(data.texts).to(model.device))
    return tempered_sigmoid(cosines(images, texts), model.logit_scale).cpu()
