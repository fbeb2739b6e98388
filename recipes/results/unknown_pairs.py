"""Compares the losses of pairs without a human label, with part of the labels removed."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runs import MUMIC, Study, best_epoch, mean_and_spread

from app.core.checkpoint import read_checkpoint
from app.dataset.manifest import load_names, names_from_labels, read_manifest, write_manifest
from app.evaluation.report import table_to_markdown

LOSSES = ("ignore", "negative")


def lines(study: Study, label_share: float) -> Iterator[str]:
    """Yield the table, by the best epoch of each run on the validation split."""
    rows = []
    for title, shares in (
        (f"{100 * label_share:g} %", (label_share, label_share)),
        (f"{100 * label_share:g} % of the positives", (label_share, 0.0)),
        ("all positives", (1.0, 0.0)),
        ("all", (1.0, 1.0)),
    ):
        for loss in LOSSES:
            if loss == "ignore" and not shares[1]:
                continue  # without a negative, nothing is learned
            kept = "-".join(f"{share:g}" for share in shares)
            plain = shares == (1, 1) and loss == "ignore"
            name = MUMIC if plain else f"unknown-{loss}-labels-{kept}"
            runs = [
                best_epoch(
                    replace(study, manifest=thinned_manifest(study, *shares, seed)).train(
                        name, seed=seed, unknown=loss
                    )
                )
                for seed in study.seeds
            ]
            rows.append([title, loss, mean_and_spread([run["macro_map"] for run in runs])])
    yield table_to_markdown([["train labels kept", "--unknown", "macro mAP"], *rows]) + "\n"


def thinned_manifest(study: Study, positives: float, negatives: float, seed: int) -> Path:
    """Write the manifest with each label of a train photo kept with a probability.

    Args:
        study: its manifest is thinned.
        positives: the probability of a positive.
        negatives: the probability of a negative; with 1 for both, the manifest itself is returned.
        seed: of the labels that are kept.
    """
    if positives == negatives == 1:
        return study.manifest
    labels = read_checkpoint(study.init).labels
    names = load_names(study.names, labels) if study.names else names_from_labels(labels)

    def thin(file: str, given: frozenset[str], share: float) -> frozenset[str]:
        return frozenset(
            name for name in given if random.Random(f"{seed} {file} {name}").random() < share
        )

    rows = read_manifest(study.manifest, study.photos, names)
    path = study.work / f"labels-{positives:g}-{negatives:g}-seed-{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(
        path,
        [
            replace(
                row,
                positive=thin(row.file, row.positive, positives),
                negative=thin(row.file, row.negative, negatives),
            )
            if row.split == "train"
            else row
            for row in rows
        ],
    )
    return path
