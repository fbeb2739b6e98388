"""Merges the fine-tuned projection with the initial one, to restore concepts that no photo shows.

The fine-tuned trunk still represents an espresso, because its features were trained to match the
ImageNet network's classes. Its projection does not, because it was fitted to photos without an
espresso. The merged projection has two components. In the span of the texts that humans found on
some training photo, it is a weighted mean of the fine-tuned and the initial projection. In the rest
of the embedding space, for which there are no human labels, it is the initial projection, a
least-squares solution from the class names' texts. The second component lengthens the embeddings
outside the span and so shrinks the cosines. Therefore logit_scale is fitted again, to the loss of
the known pairs of the validation split. Everything else is from the fine-tuned checkpoint.
"""

import argparse
import math
from pathlib import Path

import torch
from scored import print_scores
from torch import Tensor

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.model import cosines
from app.dataset.labelled import load_labelled_photos
from app.dataset.manifest import load_names
from app.evaluation.metrics import average_precision
from app.evaluation.predictions import embed_photos, embed_texts
from app.training.data import trunk_and_head
from app.training.objective import tempered_bce

HERE = Path(__file__).parent


def onto_span(texts: Tensor) -> Tensor:
    """Return the (D, D) orthogonal projection onto the span of texts (K, D), K below D."""
    basis: Tensor = torch.linalg.svd(texts.T, full_matrices=False).U
    return torch.mm(basis, basis.T)


def merged(
    start: Tensor, finetuned: Tensor, texts: Tensor, share: float, elsewhere: float
) -> Tensor:
    """Merge two projections into one (D, F).

    Args:
        start: (D, F) initial projection; it is scaled to the norm of the other.
        finetuned: (D, F) fine-tuned projection.
        texts: (K, D) embeddings of the texts that humans found on photos.
        share: share of the initial projection within their span.
        elsewhere: factor of the initial projection outside their span.
    """
    start = start * (finetuned.norm() / start.norm())
    within = onto_span(texts)
    mean = (1 - share) * finetuned + share * start
    return within @ mean + elsewhere * (start - within @ start)


def best_logit_scale(cosine: Tensor, targets: Tensor) -> Tensor:
    """Return the logit_scale, up to ln(100), with the lowest loss of the known pairs.

    Args:
        cosine: (N, L) in [-1, 1].
        targets: (N, L) presence, 1 or 0, or -1 where unknown.
    """
    scales = torch.arange(2.0, math.log(100), 0.01)
    equal_weights = torch.ones(targets.shape[1])
    losses = [tempered_bce(cosine, targets, scale, equal_weights).item() for scale in scales]
    return scales[losses.index(min(losses))]


def main() -> None:
    """Write the merged checkpoint and print its metrics on the validation split."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("start", "finetuned", "manifest", "photos", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.3, help="of --start, within the span")
    parser.add_argument("--elsewhere", type=float, default=2.5, help="factor of --start outside it")
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.finetuned)
    data = load_labelled_photos(
        args.manifest,
        args.photos,
        checkpoint.labels,
        names=load_names(HERE / "names.yaml", checkpoint.labels),
    )
    model = load_model(checkpoint).eval()
    found = (data.targets[data.indices("train")] == 1).any(dim=0).nonzero().flatten().tolist()
    texts = embed_texts(model, model.tokenize([data.texts[column] for column in found]))
    (projection,) = trunk_and_head(model)[1].parameters()
    (start,) = trunk_and_head(load_model(read_checkpoint(args.start)))[1].parameters()
    projection.data.copy_(merged(start.data, projection.data, texts, args.share, args.elsewhere))

    validation = data.indices("validation")
    paths = [data.photos / data.files[i] for i in validation]
    images = embed_photos(model, checkpoint.preprocess, paths)
    cosine = cosines(images, embed_texts(model, model.tokenize(data.texts)))
    targets = data.targets[validation]
    scale = best_logit_scale(cosine, targets)
    print(f"logit_scale {model.logit_scale.item():.2f} -> {scale.item():.2f}")
    model.logit_scale.data.copy_(scale)

    own = list(data.classes.values())
    precisions = average_precision(targets[:, own].numpy(), cosine[:, own].numpy()).tolist()
    metrics = print_scores(dict(zip(data.classes, precisions, strict=True)))
    write_checkpoint(
        args.out,
        model,
        checkpoint.config,
        checkpoint.labels,
        name=args.out.name,
        version=checkpoint.card.version,
        readme=f"# {args.out.name}\n\nWritten by recipes/demo/merge.py.\n",
        training={
            **checkpoint.card.training,
            "merged": {
                "texts": len(found),
                "share": args.share,
                "elsewhere": args.elsewhere,
                "logit_scale": round(scale.item(), 2),
            },
        },
        metrics={"validation": metrics},
        exif_orientation=checkpoint.preprocess.exif_orientation,
    )


if __name__ == "__main__":
    main()
