"""Measures the penalty on labels that are more probable than their parents."""

from collections.abc import Iterator

import numpy as np
from runs import MUMIC, Study, best_epoch, mean_and_spread

from app.core.checkpoint import read_checkpoint
from app.errors import OptionError
from app.evaluation.metrics import sigmoid
from app.evaluation.report import table_to_markdown

WEIGHTS = (0.0, 0.1, 1.0)


def lines(study: Study) -> Iterator[str]:
    """Yield macro mAP, and how often a label is more probable than its parent."""
    labels = read_checkpoint(study.init).labels
    edges = [
        (labels.index(label.id), labels.index(parent))
        for label in labels.labels
        for parent in label.parents
    ]
    if not edges:
        raise OptionError("init", f"{study.init}: no label of the label set has parents")
    children, parents = np.array(edges).T
    rows = []
    for weight in WEIGHTS:
        name = f"hierarchy-penalty-{weight:g}" if weight else MUMIC
        runs = {
            str(seed): study.train(name, seed=seed, hierarchy_penalty=weight)
            for seed in study.seeds
        }
        scored = study.score(runs, by_label=True)
        excess = []
        for logits in scored.logits.values():
            p = sigmoid(logits)
            excess.append(p[:, children] - p[:, parents])
        rows.append(
            [
                f"{weight:g}",
                mean_and_spread([best_epoch(out)["macro_map"] for out in runs.values()]),
                mean_and_spread([float(np.mean(each > 0)) for each in excess]),
                mean_and_spread([float(np.mean(each > 0.1)) for each in excess]),
            ]
        )
    head = ["weight", "macro mAP on validation", "child above parent", "by more than 0.1"]
    yield table_to_markdown([head, *rows]) + "\n"
