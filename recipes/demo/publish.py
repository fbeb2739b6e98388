"""Fit the thresholds of a trained checkpoint, measure it on the test part, and write its card.

The thresholds are those of best F1 on the validation part, or the strictest within `SLACK` of it:
the photos show far less than the world does. Where humans were not asked, the
teacher's word counts when it is clear; a label with too few positives of either kind gets a
fallback: what one validation photo in a hundred passes, and at least `FALLBACK_FLOOR`.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scored import SCORED

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.labels import Label, LabelSet, Thresholds
from app.dataset.labelled import load_labelled
from app.dataset.names import load_names
from app.dataset.soft_targets import UNKNOWN
from app.evaluation.bootstrap import average_precision_of_draws, draw_images, interval
from app.evaluation.metrics import average_precision, macro_map
from app.evaluation.scores import score_part
from app.evaluation.thresholds import best_f1_threshold

HERE = Path(__file__).parent
Floats = NDArray[np.floating]
MIN_POSITIVES = 10
SLACK = 0.01
TEACHER_SURE = 0.5
FALLBACK_FLOOR = 0.5
FALLBACK_SHARE = 0.01


def fit(label: Label, human: Floats, teacher: Floats, scores: Floats) -> tuple[Label, str]:
    """The label with its `serve` threshold, and what that rests on."""
    sure = np.where(teacher >= TEACHER_SURE, 1.0, np.where(teacher == 0.0, 0.0, UNKNOWN))
    targets = np.where(human >= 0, human, sure)
    if (targets == 1).sum() >= MIN_POSITIVES:
        threshold, f1 = best_f1_threshold(targets, scores, SLACK)
        source = "human" if (human == 1).sum() >= MIN_POSITIVES else "teacher"
        evidence = f"{source}, F1 {f1:.2f}"
    else:
        threshold = max(FALLBACK_FLOOR, float(np.quantile(scores, 1 - FALLBACK_SHARE)))
        evidence = "fallback"
    store = min(label.thresholds.store, threshold)
    thresholds = Thresholds(serve=round(threshold, 3), store=store)
    return label.model_copy(update={"thresholds": thresholds}), evidence


def metrics_table(ap: dict[str, float], targets: Floats, scores: Floats) -> str:
    """Markdown rows: class, positives, AP and its interval."""
    lines = ["| class | positives | AP | 95 % interval |", "|---|---|---|---|"]
    drawn = average_precision_of_draws(targets, scores, draw_images(len(targets)))
    for i, (name, value) in enumerate(ap.items()):
        scored = " *" if name in SCORED else ""
        if math.isnan(value):
            lines.append(f"| {name} | 0 | | |")
            continue
        low, high = interval(drawn[:, i])
        positives = int((targets[:, i] == 1).sum())
        lines.append(f"| {name}{scored} | {positives} | {value:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Write the shipped checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of mumic train")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--soft-targets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", default="0.1.0")
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint)
    model = load_model(args.checkpoint)
    label_set = checkpoint.labels
    names = load_names(HERE / "names.yaml", label_set)
    data = load_labelled(
        args.manifest, args.photos, label_set, names=names, soft_targets=args.soft_targets
    )
    columns = {text: column for column, text in enumerate(data.texts)}
    validation = score_part(model, checkpoint.preprocess, data, "validation").numpy()
    rows = data.indices("validation")
    human, teacher = data.targets[rows].numpy(), data.soft_targets[rows].float().numpy()
    fitted = {}
    for label, prompt in zip(label_set.labels, label_set.prompts, strict=True):
        c = columns[prompt]
        fitted[label.id] = fit(label, human[:, c], teacher[:, c], validation[:, c])
    labels = LabelSet(
        version=label_set.version,
        template=label_set.template,
        labels=tuple(label for label, _ in fitted.values()),
    )

    own = list(data.classes.values())
    test = score_part(model, checkpoint.preprocess, data, "test").numpy()[:, own]
    targets = data.targets[data.indices("test")][:, own].numpy()
    ap = dict(zip(data.classes, average_precision(targets, test).tolist(), strict=True))
    scored = macro_map([ap[name] for name in SCORED])
    everything = macro_map(list(ap.values()))
    print(f"test: macro mAP {scored:.4f} over the fifteen scored, {everything:.4f} over all")
    threshold_table = "\n".join(
        f"| {label.name} | {label.thresholds.serve:.2f} | {evidence} |"
        for label, evidence in fitted.values()
    )
    readme = (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            scored=f"{scored:.3f}",
            everything=f"{everything:.3f}",
            ap=metrics_table(ap, targets, test),
            thresholds=threshold_table,
        )
    )
    write_checkpoint(
        args.out,
        model,
        checkpoint.config,
        labels,
        name=args.out.name,
        version=args.version,
        readme=readme,
        training=checkpoint.card.training,
        metrics={
            "test": {"macro_map_scored": scored, "macro_map": everything, "ap": _defined(ap)},
            **checkpoint.card.metrics,
        },
        exif_orientation=checkpoint.preprocess.exif_orientation,
    )


def _defined(ap: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in ap.items() if not math.isnan(value)}


if __name__ == "__main__":
    main()
