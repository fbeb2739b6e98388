"""How good the towers are in the middle of a run."""

import torch
from torch import Tensor

from app.core.model import MumicModel
from app.core.preprocess import Preprocess
from app.core.scoring import cosines, l2_normalize
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import Part
from app.evaluation.embedding import embed_photos, embed_texts
from app.evaluation.metrics import average_precision
from app.training.features import trunk_and_head

BATCH_SIZE = 64


@torch.no_grad()
def evaluate(
    model: MumicModel,
    preprocess: Preprocess,
    data: LabelledPhotos,
    part: Part,
    features: Tensor | None = None,
) -> dict[str, float]:
    """Average precision of each class of the data on a part, by the text of its name.

    Args:
        model: the towers, whose mode is left as evaluation.
        preprocess: the checkpoint's.
        data: the photos and what is known of them.
        part: which of them.
        features: (2, N, F), where the image tower's trunk is frozen.

    Returns:
        Class to average precision; NaN where the part has no positive.
    """
    model.eval()
    indices = data.indices(part)
    texts = [data.texts[column] for column in data.classes.values()]
    text_embeddings = embed_texts(model, model.tokenize(texts).to(model.device))
    if not len(indices):
        return dict.fromkeys(data.classes, float("nan"))
    if features is not None:
        head = trunk_and_head(model)[1]
        parts = [features[0, batch].to(model.device) for batch in torch.split(indices, BATCH_SIZE)]
        images = torch.cat([l2_normalize(head(part)) for part in parts])
    else:
        images = embed_photos(model, preprocess, [data.photos / data.files[i] for i in indices])
    scores = cosines(images, text_embeddings).cpu().numpy()
    targets = data.targets[indices][:, list(data.classes.values())].numpy()
    return dict(zip(data.classes, average_precision(targets, scores).tolist(), strict=True))
