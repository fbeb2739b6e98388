"""Fits the thresholds of an assembled checkpoint on the validation split and writes it.

The thresholds are fitted as by `mumic thresholds`, and `serve` is raised to a floor. For pairs
without a human label, `serve` is also fitted to what the scene excludes and the detector sees
(`evidence.py`). A label without positives of either kind is not served by default.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import gather_evidence, load_photos
from numpy.typing import NDArray

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.labels import reference_histograms
from app.dataset.labelled import UNKNOWN_TARGET
from app.evaluation.metrics import (
    draw_bootstrap_samples,
    percentile_interval,
    reliability_diagram,
    sigmoid,
)
from app.evaluation.metrics.bootstrap import bootstrap_calibration_error
from app.evaluation.predictions import predict_photos
from app.evaluation.thresholds import (
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
    summarise_thresholds,
)

FLOOR = 0.75  # of `serve`: where known negatives are easy, the best F1 is at a low probability
SLACK = 0.06  # of the best F1, for stricter thresholds: on most photos most labels are unknown


def confident(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return soft targets as 1 or 0, and -1 where they are neither sure nor assumed absent."""
    certain = np.where(targets >= 0.5, 1.0, np.where(targets == 0.0, 0.0, UNKNOWN_TARGET))
    return certain.astype(np.float32)


def reliability(targets: NDArray[np.float32], logits: NDArray[np.float32]) -> dict[str, Any]:
    """Compare probabilities with frequencies, for labels with a known positive and negative.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C), with the calibration of the labels.

    Returns:
        The expected calibration error with its 95 % interval, and the bins that are not empty.
    """
    both = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    known, probabilities = targets[:, both], sigmoid(logits[:, both].astype(np.float64))
    found = reliability_diagram(known, probabilities)
    draws = draw_bootstrap_samples(len(targets))
    low, high = percentile_interval(bootstrap_calibration_error(known, probabilities, draws))
    return {
        "labels": int(both.sum()),
        "expected_calibration_error": round(found.calibration_error, 4),
        "interval": [round(low, 4), round(high, 4)],
        "bins": [
            {
                "from": round(float(found.edges[b]), 4),
                "to": round(float(found.edges[b + 1]), 4),
                "pairs": int(found.pairs[b]),
                "probability": round(float(found.probability[b]), 4),
                "frequency": round(float(found.frequency[b]), 4),
            }
            for b in np.flatnonzero(found.pairs)
        ],
    }


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "manifest", "photos", "classes", "detections", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--version", default="3.0.0")
    parser.add_argument("--floor", type=float, default=FLOOR)
    parser.add_argument("--slack", type=float, default=SLACK)
    args = parser.parse_args()

    checkpoint = read_checkpoint(args.checkpoint)
    label_set = checkpoint.labels
    data = load_photos(args.manifest, args.photos, label_set)
    evidence = gather_evidence(data, label_set, args.photos, args.classes, args.detections)
    rows = data.indices("validation")
    labels = slice(0, len(label_set.ids))
    human = data.targets[rows, labels].numpy()
    teacher = confident(evidence.targets[rows, labels].float().numpy())
    paths = [data.photos / data.files[i] for i in rows]
    logits = predict_photos(checkpoint, paths, [], device=torch.device("cpu")).label_logits
    rules = ThresholdRules(slack=args.slack)
    fitted = fit_thresholds(human, logits, rules, teacher)
    fitted = replace(fitted, serve=np.maximum(fitted.serve, args.floor))
    _, _, summary = summarise_thresholds(human, logits, fitted, rules, teacher)
    print(summary.text(rules))
    served = sigmoid(logits) >= fitted.serve
    right, wrong = (served & (human == 1)).sum(axis=0), (served & (human == 0)).sum(axis=0)
    positives = (human == 1).sum(axis=0)
    enough = positives >= 8
    print(
        f"validation: {served.sum(axis=1).mean():.2f} labels a photo, "
        f"{right.sum() / (right.sum() + wrong.sum()):.3f} of the known right, macro recall "
        f"{(right[enough] / positives[enough]).mean():.3f} over {enough.sum()} labels"
    )
    write_checkpoint(
        args.out,
        load_model(checkpoint),
        checkpoint.config,
        apply_thresholds(label_set, fitted),
        name=args.out.name,
        version=args.version,
        readme=f"# {args.out.name}\n\nWritten by recipes/demo/publish.py.\n",
        training=checkpoint.card.training,
        metrics={
            "thresholds": {
                "part": "validation",
                "slack": args.slack,
                "floor": args.floor,
                **summary.as_metrics(),
            },
            "reliability": {"split": "validation", **reliability(human, logits)},
            "score_histograms": reference_histograms(label_set.ids, logits),
        },
        exif_orientation=checkpoint.preprocess.exif_orientation,
    )


if __name__ == "__main__":
    main()
