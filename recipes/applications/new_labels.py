"""Measures labels that are added at run time by the number of examples, and prints a table.

    python recipes/applications/new_labels.py --checkpoint DIR --manifest FILE --names FILE \
        --photos FOLDER --embeddings FILE

DIR is a checkpoint that was trained without the five classes (`finetune.py --leave-out`). The
manifest has their labels. FILE keeps the embeddings of a first run for the next.
docs/applications.md has the table.

Examples are drawn from the training split, which trained the other labels. Photos of the validation
split whose target of the class is known are scored; those whose target is unknown are the known
photos, some of which show the class. The test split is not used.
"""

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from kept_embeddings import embed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from torch import Tensor

from app.applications.new_labels import (
    Background,
    LabelText,
    fit_against,
    fit_probe,
    make_label,
    text_probe,
)
from app.core.classifier import Classifier
from app.core.labels import LabelSet, render
from app.core.model import calibrated_logits, cosines, logits
from app.dataset.manifest import ManifestRow, load_names, read_manifest

CLASSES = ("sea", "mountains", "sunset", "bathroom", "cow")
EXAMPLES = (0, 1, 2, 4, 8, 16)
SEEDS = range(5)
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
POOL = 100  # photos of a class that examples are drawn from
OTHER = "a label of no photo"  # makes the label set that has none of the classes


@dataclass(frozen=True, slots=True)
class Task:
    """One class with its photos.

    Attributes:
        name: of the class.
        text_embedding: (D,) float32.
        pool: (P, D) embeddings that examples are drawn from.
        scored: (N, D) embeddings with known targets.
        targets: (N,) 1 or 0.
        background: the known photos.
    """

    name: str
    text_embedding: Tensor
    pool: Tensor
    scored: Tensor
    targets: Tensor
    background: Background


@dataclass(frozen=True, slots=True)
class Result:
    """Measures of one fit: average precision, and precision and recall at the threshold."""

    average_precision: float
    probe_average_precision: float
    precision: float
    recall: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "manifest", "names", "photos", "embeddings"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the problems are small
    classifier = Classifier.load(arguments.checkpoint, device="cpu", precision="fp32")
    names = load_names(arguments.names, classifier.labels)
    rows = read_manifest(arguments.manifest, arguments.photos, names, split="validation")
    pools = {name: _pool(rows, name) for name in CLASSES}
    validation = [row.file for row in rows if row.split == "validation"]
    files = list(dict.fromkeys([file for pool in pools.values() for file in pool] + validation))
    embeddings = embed(classifier, arguments.photos, files, arguments.embeddings)
    tasks = [make_task(classifier, rows, name, pools[name], embeddings) for name in CLASSES]
    print(f"{len(CLASSES)} classes, {len(SEEDS)} seeds, at most {len(validation)} known photos\n")
    print("| examples | AP | plain linear probe | precision | recall |")
    print("|---:|---:|---:|---:|---:|")
    by_class = {}
    for count in EXAMPLES:
        results = [
            [measure(task, count, seed, classifier) for seed in (SEEDS if count else [0])]
            for task in tasks
        ]
        by_class[count] = [mean([each.average_precision for each in row]) for row in results]
        print(f"| {count} | {' | '.join(cells(results, count))} |", flush=True)
    print(f"\n| AP | {' | '.join(f'{count} examples' for count in EXAMPLES)} |")
    print(f"|---|{'---:|' * len(EXAMPLES)}")
    for place, name in enumerate(CLASSES):
        print(f"| {name} | {' | '.join(f'{by_class[n][place]:.3f}' for n in EXAMPLES)} |")
    print("\n".join(penalty_lines(tasks, classifier)))


def penalty_lines(tasks: Sequence[Task], classifier: Classifier) -> list[str]:
    """Return a table of the mean AP by penalty, and by the best penalty of the other classes."""
    counts = [count for count in EXAMPLES if count]
    found = {
        penalty: np.array(
            [[probe_ap(task, count, penalty, classifier) for count in counts] for task in tasks]
        )
        for penalty in PENALTIES
    }
    rows = {f"{penalty:g}": values.mean(axis=0) for penalty, values in found.items()}
    chosen = np.empty((len(tasks), len(counts)))
    for place in range(len(tasks)):
        for column in range(len(counts)):
            others = {
                penalty: np.delete(values[:, column], place).mean()
                for penalty, values in found.items()
            }
            chosen[place, column] = found[max(others, key=others.__getitem__)][place, column]
    rows["best of the other classes"] = chosen.mean(axis=0)
    return [
        f"\n| penalty | {' | '.join(f'{count} examples' for count in counts)} |",
        f"|---|{'---:|' * len(counts)}",
        *(
            f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"
            for name, values in rows.items()
        ),
    ]


def probe_ap(task: Task, count: int, penalty: float, classifier: Classifier) -> float:
    """Return the mean AP over the seeds of a class that is fitted with a penalty."""
    negatives = task.background.embeddings
    start = text_probe(task.text_embedding, math.exp(classifier.logit_scale), negatives)
    values = []
    for seed in SEEDS:
        chosen = random.Random(seed).sample(range(len(task.pool)), count)
        probe = fit_probe(start, task.pool[chosen], negatives, penalty=penalty)
        values.append(average_precision_score(task.targets, probe(task.scored)))
    return mean(values)


def cells(results: Sequence[Sequence[Result]], count: int) -> list[str]:
    """Return mean and spread over seeds of the mean over classes, of each measure."""
    measures = ("average_precision", "probe_average_precision", "precision", "recall")
    found = []
    for name in measures:
        by_seed = [
            mean([getattr(each, name) for each in seed]) for seed in zip(*results, strict=True)
        ]
        spread = f" ± {np.std(by_seed, ddof=1):.3f}" if len(by_seed) > 1 else ""
        found.append(f"{mean(by_seed):.3f}{spread}")
    return [
        "-" if name == measures[1] and not count else cell
        for name, cell in zip(measures, found, strict=True)
    ]


def measure(task: Task, count: int, seed: int, classifier: Classifier) -> Result:
    """Add the class with examples that a seed draws, and score the photos."""
    chosen = random.Random(seed).sample(range(len(task.pool)), count)
    examples = task.pool[chosen]
    empty = LabelSet.model_validate(
        {
            "version": "1",
            "template": classifier.labels.template,
            "labels": [{"id": "x", "name": OTHER, "description": OTHER, "category": "x"}],
        }
    )
    new, _ = fit_against(
        task.background,
        make_label(LabelText(task.name), empty),
        task.text_embedding,
        examples,
        task.scored[:0],
        logit_scale=classifier.logit_scale,
    )
    row = task.text_embedding if new.class_embedding is None else new.class_embedding
    raw = logits(cosines(task.scored, row[None]), classifier.logit_scale)
    calibration = new.label.calibration
    scores = calibrated_logits(
        raw, torch.tensor([calibration.scale]), torch.tensor([calibration.offset])
    )[:, 0]
    said, there = scores >= 0, task.targets == 1
    hits = (said & there).sum().item()
    return Result(
        average_precision_score(task.targets, scores),
        probe_average_precision(task, examples) if count else 0.0,
        hits / max(said.sum().item(), 1),
        hits / there.sum().item(),
    )


def probe_average_precision(task: Task, examples: Tensor) -> float:
    """Return the AP of logistic regression from zero on the same examples and known photos."""
    negatives = task.background.embeddings
    targets = np.repeat([1, 0], [len(examples), len(negatives)])
    probe = LogisticRegression(class_weight="balanced", max_iter=300)
    probe.fit(torch.cat([examples, negatives]).numpy(), targets)
    return float(
        average_precision_score(task.targets, probe.decision_function(task.scored.numpy()))
    )


def make_task(
    classifier: Classifier,
    rows: Sequence[ManifestRow],
    name: str,
    pool: Sequence[str],
    embeddings: dict[str, Tensor],
) -> Task:
    """Collect the photos of a class."""
    validation = [row for row in rows if row.split == "validation"]
    scored = [row for row in validation if name in row.positive | row.negative]
    known = [row for row in validation if name not in row.positive | row.negative]
    background = torch.stack([embeddings[row.file] for row in known])
    return Task(
        name,
        classifier.embed_texts([render(classifier.labels.template, name)])[0],
        torch.stack([embeddings[file] for file in pool]),
        torch.stack([embeddings[row.file] for row in scored]),
        torch.tensor([int(name in row.positive) for row in scored]),
        Background(background, "known_photos"),
    )


def _pool(rows: Sequence[ManifestRow], name: str) -> list[str]:
    """Draw the photos of the training split that examples are drawn from."""
    files = sorted(row.file for row in rows if row.split == "train" and name in row.positive)
    return random.Random(0).sample(files, POOL)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return float(np.mean(values))


if __name__ == "__main__":
    main()
