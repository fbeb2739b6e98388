"""Fits the thresholds of a trained checkpoint, measures it on the test split and writes its card.

The thresholds are fitted as by `mumic thresholds` on the validation split. For pairs without a
human label, the teacher's soft targets are used to fit `serve`.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from card_tables import evidence_of_labels, label_table, metrics_table, reliability_table
from prepare import classes_of_labels
from scored import SCORED

from app.core.checkpoint import Checkpoint, load_model, read_checkpoint, write_checkpoint
from app.core.labels import reference_histograms
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.dataset.manifest import Split, load_names
from app.evaluation.metrics import (
    average_precision,
    draw_bootstrap_samples,
    macro_map,
    percentile_interval,
    sigmoid,
)
from app.evaluation.metrics.bootstrap import bootstrap_calibration_error
from app.evaluation.metrics.calibration import reliability_diagram
from app.evaluation.predictions import Predictions, predict_photos
from app.evaluation.thresholds import (
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
    summarise_thresholds,
)

HERE = Path(__file__).parent


def predictions(checkpoint: Checkpoint, data: LabelledPhotos, split: Split) -> Predictions:
    """Return the checkpoint's predictions on a split, for the texts of the names and its labels."""
    paths = [data.photos / data.files[i] for i in data.indices(split)]
    texts = [data.texts[column] for column in data.classes.values()]
    return predict_photos(checkpoint, paths, texts, device=torch.device("cpu"))


def main() -> None:
    """Write the shipped checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="output of merge.py")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--soft-targets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", default="0.1.0")
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint)
    model = load_model(checkpoint)
    label_set = checkpoint.labels
    names = load_names(HERE / "names.yaml", label_set)
    data = load_labelled_photos(
        args.manifest, args.photos, label_set, names=names, soft_targets=args.soft_targets
    )
    columns = data.columns_of(label_set.prompts)
    rows = data.indices("validation")
    human = data.targets[rows][:, columns].numpy()
    teacher = data.soft_targets[rows][:, columns].float().numpy()
    validation = predictions(checkpoint, data, "validation").label_logits
    rules = ThresholdRules()
    fitted = fit_thresholds(human, validation, rules, teacher)
    labels = apply_thresholds(label_set, fitted)
    learned = data.targets[data.indices("train")][:, columns].numpy()
    evidence = evidence_of_labels(labels, learned, set(classes_of_labels(label_set)))
    both = (human == 1).any(axis=0) & (human == 0).any(axis=0)
    known, probabilities = human[:, both], sigmoid(validation[:, both].astype(np.float64))
    calibration = reliability_diagram(known, probabilities)
    errors = bootstrap_calibration_error(known, probabilities, draw_bootstrap_samples(len(human)))
    low, high = percentile_interval(errors)
    _, _, summary = summarise_thresholds(human, validation, fitted, rules, teacher)
    print(summary.text(rules))

    own = list(data.classes.values())
    test = predictions(checkpoint, data, "test").logits
    targets = data.targets[data.indices("test")][:, own].numpy()
    ap = dict(zip(data.classes, average_precision(targets, test).tolist(), strict=True))
    scored = macro_map([ap[name] for name in SCORED])
    everything = macro_map(list(ap.values()))
    print(f"test: macro mAP {scored:.4f} over the fifteen scored, {everything:.4f} over all")
    readme = (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            scored=f"{scored:.3f}",
            everything=f"{everything:.3f}",
            ap=metrics_table(ap, targets, test),
            calibration_error=f"{calibration.calibration_error:.3f} ({low:.3f} to {high:.3f})",
            judged=int(both.sum()),
            reliability=reliability_table(calibration),
            slack=rules.slack,
            dropped=f"{summary.dropped:.1%}",
            known_pairs=summary.known_pairs,
            recall=f"{summary.recall:.1%}",
            positives=summary.positives,
            droppable=f"{summary.droppable:.1%}",
            of_human=evidence.count("human"),
            of_teacher=evidence.count("teacher"),
            of_text=evidence.count("text alone"),
            labels=label_table(labels, evidence, fitted.evidence, human, validation),
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
            "thresholds": {"part": "validation", **summary.as_metrics()},
            "calibration": {
                "part": "validation",
                "expected_calibration_error": round(calibration.calibration_error, 4),
            },
            "score_histograms": reference_histograms(label_set.ids, validation),
            **checkpoint.card.metrics,
        },
        exif_orientation=checkpoint.preprocess.exif_orientation,
    )


def _defined(ap: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in ap.items() if not math.isnan(value)}


if __name__ == "__main__":
    main()
