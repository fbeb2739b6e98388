"""Measures `mumic calibrate labels` and thresholds with a guarantee, on photos of their own.

The photos of the split are divided into two random halves. What is fitted to one half is measured
on the other one, both ways.
"""

from collections.abc import Iterator
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from runs import MUMIC, Study, mean_and_spread

from app.evaluation.label_calibration import fit_calibrations
from app.evaluation.metrics import log_loss, reliability_diagram, sigmoid
from app.evaluation.report import table_to_markdown
from app.evaluation.thresholds import ThresholdRules, fit_thresholds

Floats = NDArray[np.floating]
Values = tuple[float, float, float]
RECALL = 0.9
RULES = {
    "best F1": ThresholdRules(slack=0.0),
    "`--precision 0.9`": ThresholdRules(precision=0.9),
    f"`--recall-at-least {RECALL}`": ThresholdRules(recall_at_least=RECALL),
}


def lines(study: Study) -> Iterator[str]:
    """Yield a table of calibrations, and one of rules of `serve`."""
    runs = {str(seed): study.train(MUMIC, seed=seed) for seed in study.seeds}
    scored = study.score(runs, by_label=True)
    losses: dict[str, list[Values]] = {}
    effects: dict[str, list[Values]] = {}
    labels = []
    for seed, logits in enumerate(scored.logits.values()):
        is_first = np.random.default_rng(seed).permutation(len(logits)) < len(logits) // 2
        for half in (is_first, ~is_first):
            fit, rest = ((scored.targets[each], logits[each]) for each in (half, ~half))
            for title, values in _calibration_measures(fit, rest).items():
                losses.setdefault(title, []).append(values)
            proven, by_rule = _threshold_measures(fit, rest)
            labels.append(proven)
            for title, values in by_rule.items():
                effects.setdefault(title, []).append(values)
    yield "Calibration, on the half that it was not fitted to:\n\n"
    head = ["calibration", "log loss, nats", "calibration error, %", "the same, mean of labels, %"]
    yield table_to_markdown([head, *_loss_rows(losses)]) + "\n"
    yield (
        f"\nThresholds of the {min(labels)} to {max(labels)} labels with enough positives for the "
        "guarantee, on the half that they were not fitted to, %:\n\n"
    )
    head = ["rule", "macro recall", "macro precision", f"labels with recall below {RECALL:g}"]
    rows = [
        [title, *(mean_and_spread(column) for column in zip(*values, strict=True))]
        for title, values in effects.items()
    ]
    yield table_to_markdown([head, *rows]) + "\n"


def _loss_rows(losses: dict[str, list[Values]]) -> list[list[str]]:
    rows = []
    for title, values in losses.items():
        loss, *errors = zip(*values, strict=True)
        spread = f"{fmean(loss):.4f} ± {np.std(loss, ddof=1):.4f}"
        rows.append([title, spread, *(mean_and_spread(each) for each in errors)])
    return rows


def _calibration_measures(
    fit: tuple[Floats, Floats], rest: tuple[Floats, Floats]
) -> dict[str, Values]:
    """Return log loss and calibration errors of labels with a calibration of their own."""
    targets, logits = rest
    fitted = fit_calibrations(*fit)
    own = fitted.is_own & (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    measures = {}
    for title, values in (("none", logits), ("`mumic calibrate labels`", fitted.apply(logits))):
        known, p = targets[:, own], sigmoid(values[:, own])
        by_label = [
            reliability_diagram(known[:, [c]], p[:, [c]]).calibration_error
            for c in range(known.shape[1])
        ]
        measures[title] = (
            log_loss(known, values[:, own]),
            reliability_diagram(known, p).calibration_error,
            fmean(by_label),
        )
    return measures


def _threshold_measures(
    fit: tuple[Floats, Floats], rest: tuple[Floats, Floats]
) -> tuple[int, dict[str, Values]]:
    """Return the number of labels with a guarantee, and what each rule does on the other half."""
    fitted = {title: fit_thresholds(*fit, rules) for title, rules in RULES.items()}
    *_, guaranteed = fitted.values()
    proven = np.array([kind == "recall" for kind in guaranteed.serve_kind])
    targets, scores = rest[0][:, proven], sigmoid(rest[1][:, proven])
    measures = {}
    for title, each in fitted.items():
        passed = scores >= each.serve[proven]
        hits = (passed & (targets == 1)).sum(axis=0)
        recall = hits / (targets == 1).sum(axis=0)
        precision = hits / np.maximum((passed & (targets >= 0)).sum(axis=0), 1)
        measures[title] = (
            float(recall.mean()),
            float(precision.mean()),
            float((recall < RECALL).mean()),
        )
    return int(proven.sum()), measures
