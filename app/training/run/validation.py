"""Validation: the metrics that a run measures after each epoch."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from app.core.images import Preprocess
from app.core.model import MumicModel, cosines, l2_normalize
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import Split
from app.errors import OptionError
from app.evaluation.metrics import (
    average_precision,
    global_average_precision,
    global_average_precision_at_k,
    macro_map,
    measurable,
)
from app.evaluation.predictions import embed_photos, embed_texts
from app.training.config import BestBy
from app.training.data import Inputs, trunk_and_head
from app.training.objective import Objective
from app.training.run.state import BestEpoch

BATCH_SIZE = 64
MEASURES = ("macro_map", "gap", "gap_at_10")  # of a whole split, not of a class
MANY_LABELS = 10  # with more known labels per image, on average, GAP@10 selects the epoch


def validate(objective: Objective, data: LabelledPhotos, inputs: Inputs) -> dict[str, float]:
    """Measure the present weights on the validation split.

    Args:
        objective: scores the photos for the data's classes.
        data: the photos and their targets.
        inputs: the source of batches.

    Returns:
        `macro_map`, `gap`, `gap_at_10`, `validation_loss`, and `ap_NAME` of each class; NaN where
        undefined, as the AP of a class without a positive or without a negative.
    """
    indices = data.indices("validation")
    targets = data.targets[indices][:, list(data.classes.values())].numpy()
    if not len(indices):
        names = (*MEASURES, "validation_loss", *(f"ap_{name}" for name in data.classes))
        return dict.fromkeys(names, math.nan)
    scored = objective.scores(inputs.batches(torch.split(indices, BATCH_SIZE)))
    scores = scored.numpy()
    ap = average_precision(targets, scores).tolist()
    return {
        "macro_map": macro_map(ap),
        "gap": global_average_precision(targets, scores),
        "gap_at_10": global_average_precision_at_k(targets, scores, 10),
        "validation_loss": objective.loss_of_scores(scored, indices),
        **{f"ap_{name}": value for name, value in zip(data.classes, ap, strict=True)},
    }


def selection_metric(best_by: BestBy, data: LabelledPhotos) -> str | None:
    """The key of `validate` whose best epoch is selected; None: the last epoch is.

    Raises:
        OptionError: a metric is requested, but is undefined on the validation split.
    """
    indices = data.indices("validation")
    if best_by == "last" or (best_by == "auto" and not len(indices)):
        return None
    if not len(indices):
        raise OptionError(
            "best-by", f"{best_by} needs photos in the split validation, which is empty"
        )
    targets = data.targets[indices][:, list(data.classes.values())]
    has_macro_map = bool(measurable(targets.numpy()).any())
    if best_by == "macro-map" and not has_macro_map:
        raise OptionError(
            "best-by",
            "macro-map is undefined: no label has both a positive and a negative photo in the "
            "split validation",
        )
    if best_by != "auto":
        return {"gap-at-10": "gap_at_10", "macro-map": "macro_map"}[best_by]
    many = (targets >= 0).sum(dim=1).float().mean() > MANY_LABELS
    return "gap_at_10" if many or not has_macro_map else "macro_map"


def ranks_below(row: Mapping[str, float], other: BestEpoch, metric: str | None) -> bool:
    """Whether an epoch is worse than an earlier one: by the metric, then by the validation loss.

    Ranking metrics saturate on a small validation split, GAP as well, while the loss still falls
    and probabilities become right. A tie of both goes to the later epoch.

    Args:
        row: what `validate` measured.
        other: the earlier epoch.
        metric: from `selection_metric`.
    """
    if metric is None:
        return False
    return (row[metric], -row["validation_loss"]) < (other.value, -other.validation_loss)


def metric_text(value: float) -> str:
    """Return a metric with three decimals, or a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.3f}"


@torch.no_grad()
def evaluate(
    model: MumicModel,
    preprocess: Preprocess,
    data: LabelledPhotos,
    split: Split,
    features: Tensor | None = None,
) -> dict[str, float]:
    """Average precision of each class on a split, scored by the text of its name.

    Args:
        model: the towers, which are left in evaluation mode.
        preprocess: the checkpoint's.
        data: the photos and their targets.
        split: the photos to score.
        features: (2, N, F), with a frozen trunk of the image tower.

    Returns:
        Class to average precision; NaN where the split has no positive or no negative.
    """
    model.eval()
    indices = data.indices(split)
    texts = [data.texts[column] for column in data.classes.values()]
    text_embeddings = embed_texts(model, model.tokenize(texts).to(model.device))
    if not len(indices):
        return dict.fromkeys(data.classes, float("nan"))
    if features is not None:
        head = trunk_and_head(model)[1]
        batches = [
            features[0, batch].to(model.device) for batch in torch.split(indices, BATCH_SIZE)
        ]
        images = torch.cat([l2_normalize(head(batch)) for batch in batches])
    else:
        images = embed_photos(model, preprocess, [data.photos / data.files[i] for i in indices])
    scores = cosines(images, text_embeddings).cpu().numpy()
    targets = data.targets[indices][:, list(data.classes.values())].numpy()
    return dict(zip(data.classes, average_precision(targets, scores).tolist(), strict=True))
