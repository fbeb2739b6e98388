"""The tables of the model card, as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scored import SCORED

from app.core.labels import Calibration, Label
from app.evaluation.report import table_to_markdown

Measured = Mapping[str, Any]  # ap, low, high, positives and negatives of one class or label


def interval(measured: Measured) -> str:
    """Format an interval; a dash for one of zero width or without values."""
    low, high = measured["low"], measured["high"]
    return f"{low:.3f} to {high:.3f}" if low < high else "-"


def class_table(measured: Mapping[str, Measured]) -> str:
    """Return one row per class of the older photos: positives, average precision, interval."""
    rows = [["class", "test positives", "AP", "95 % interval"]]
    for name, found in measured.items():
        scored = " *" if name in SCORED else ""
        row = [name + scored, str(found["positives"]), f"{found['ap']:.3f}", interval(found)]
        rows.append(row)
    return table_to_markdown(rows)


def everyday_table(measured: Mapping[str, Any]) -> str:
    """Return one row per everyday text: pairs and shares of `measure_zero_shot.py`."""
    rows = [["text", "photos it fits", "0.5 or more", "photos it cannot fit", "below 0.5"]]
    for name, found in [*measured["table"].items(), ("all pairs", measured["pairs"])]:
        rows.append([name, *_shares(found)])
    mean = measured["mean"]
    rows.append(["mean of the texts", "", f"{mean['recall']:.3f}", "", f"{mean['below']:.3f}"])
    return table_to_markdown(rows)


def label_table(
    labels: Sequence[Label],
    photos: Sequence[int],
    teachers: Sequence[str],
    measured: Mapping[str, Measured],
) -> str:
    """Return one row per label: what it rests on, its average precision and its thresholds.

    Args:
        labels: C labels with evidence and thresholds.
        photos: C counts of positives by humans in the train split.
        teachers: C names of the models that gave pseudo-labels; empty if none did.
        measured: the measured labels by id.
    """
    calibrated = any(label.calibration != Calibration() for label in labels)
    header = ["label", "evidence", "teachers", "human photos", "test positives", "AP"]
    header += ["95 % interval", "`serve`", "kind", "`store`", *["calibration"] * calibrated]
    rows = [header]
    for label, count, names in zip(labels, photos, teachers, strict=True):
        found, thresholds = measured.get(label.id), label.thresholds
        figures = [str(found["positives"]), f"{found['ap']:.3f}", interval(found)] if found else []
        serve = "not served" if thresholds.serve is None else f"{thresholds.serve:.4f}"
        row = [label.name, label.evidence or "", names, str(count), *(figures or ["", "", ""])]
        row += [serve, thresholds.kind or "", f"{thresholds.store:.4f}"]
        if calibrated:
            row.append(f"{label.calibration.scale:.3f} x logit {label.calibration.offset:+.3f}")
        rows.append(row)
    return table_to_markdown(rows, text_columns=3)


def reliability_table(bins: Sequence[Mapping[str, Any]]) -> str:
    """Return one row per bin: pairs, mean probability and share of positives."""
    rows = [["probability", "known pairs", "mean probability", "share of positives"]]
    for each in bins:
        means = [f"{each['probability']:.3f}", f"{each['frequency']:.3f}"]
        rows.append([f"{each['from']:.1f} to {each['to']:.1f}", str(each["pairs"]), *means])
    return table_to_markdown(rows)


def source_table(sources: Mapping[str, Mapping[str, str]], photos: Counter[str]) -> str:
    """Return one row per source of photos: what they show, their number and their terms.

    Args:
        sources: `shows` and `terms` of each source.
        photos: number of training photos of each source.

    Raises:
        KeyError: a source has no terms.
    """
    rows = [["source", "photos show", "terms", "training photos"]]
    for name, count in photos.most_common():
        entry = sources[name]
        rows.append([f"`{name}`", entry["shows"], entry["terms"], str(count)])
    return table_to_markdown(rows, text_columns=3)


def _shares(found: Mapping[str, Any]) -> list[str]:
    recall, below = (
        "" if found[key] is None else f"{found[key]:.3f}" for key in ("recall", "below")
    )
    return [str(found["fits"]), recall, str(found["never"]), below]
