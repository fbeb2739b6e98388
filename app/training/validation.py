"""How good the towers are in the middle of a run."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from app.core.model import MumicModel
from app.core.preprocess import Preprocess, normalize
from app.core.scoring import cosines, l2_normalize
from app.evaluation.metrics import average_precision
from app.training.data import TrainingData
from app.training.features import trunk_and_head
from app.training.manifest import Part
from app.training.photos import Photos

BATCH_SIZE = 64


@torch.no_grad()
def evaluate(
    model: MumicModel,
    preprocess: Preprocess,
    data: TrainingData,
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
    rows = []
    if features is not None:
        head = trunk_and_head(model)[1]
        for batch in torch.split(indices, BATCH_SIZE):
            rows.append(l2_normalize(head(features[0, batch].to(model.device))))
    else:
        photos = Photos([data.photos / data.files[i] for i in indices], preprocess)
        for pixels in DataLoader(photos, BATCH_SIZE):
            images = normalize(pixels.to(model.device), preprocess, torch.float32)
            rows.append(model.encode_image(images))
    if not rows:
        return dict.fromkeys(data.classes, float("nan"))
    scores = cosines(torch.cat(rows), text_embeddings).cpu().numpy()
    targets = data.targets[indices][:, list(data.classes.values())].numpy()
    return dict(zip(data.classes, average_precision(targets, scores).tolist(), strict=True))


@torch.no_grad()
def embed_texts(model: MumicModel, tokens: Tensor) -> Tensor:
    """(N, D) unit rows of token ids (N, context), a few hundred at a time."""
    return torch.cat([model.encode_text(part) for part in torch.split(tokens, 256)])
