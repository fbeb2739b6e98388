"""Runs `mumic thresholds`: fits each label's thresholds and writes a checkpoint directory."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import CARD_FILE, read_checkpoint, write_relabelled
from app.core.files import refuse_foreign
from app.core.labels import reference_histograms
from app.core.runtime import choose_placement
from app.dataset.labelled import listed
from app.errors import DataError, OptionError
from app.evaluation.metrics import check_measurable
from app.evaluation.predictions import fitting_warnings, load_requested_photos, predict_photos
from app.evaluation.requests import ThresholdsRequest
from app.evaluation.thresholds.fitting import (
    FittedThresholds,
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
)
from app.evaluation.thresholds.summary import (
    THRESHOLD_TABLE_HEADER,
    fallback_lines,
    guarantee_lines,
    not_served_lines,
    summarise_thresholds,
    threshold_table_rows,
)


def run_thresholds(request: ThresholdsRequest, console: Console) -> str:
    """Fit each label's serve and store thresholds and write the checkpoint.

    Args:
        request: the checkpoint, the photos to fit on, and the rules.
        console: receives progress and notes.

    Returns:
        The table of labels and the summary, as text.

    Raises:
        OptionError: an option is out of range.
        DataError: the photos cannot be read, are too few to fit on, or no label has both a
            positive and a negative.
        CheckpointError: the checkpoint is damaged, or another directory is at the output.
    """
    for option in ("recall", "confidence", "recall_at_least"):
        value = getattr(request, option)
        if value is not None and not 0 < value < 1:
            raise OptionError(option.replace("_", "-"), f"must be above 0 and below 1, got {value}")
    if None not in (request.precision, request.recall_at_least):
        raise OptionError("recall-at-least", "serve is fitted to it or to --precision, not to both")
    checkpoint = read_checkpoint(request.checkpoint)
    refuse_foreign(request.out, CARD_FILE)
    labels, split = checkpoint.labels, request.split
    data = load_requested_photos(request, labels, split=split, soft_targets=request.soft_targets)
    indices = data.indices(split)
    columns = data.columns_of(labels.prompts)
    targets = data.targets[indices][:, columns].numpy()
    if len(indices) < 2:
        raise DataError(
            f"{request.manifest}: only one photo is in the split {split}; thresholds are "
            "evaluated on photos that they were not fitted on, so at least two are needed"
        )
    check_measurable(targets, request.manifest, split)
    teacher = None
    if request.soft_targets:
        teacher = data.soft_targets[indices][:, columns].float().numpy()
    with Progress(console=console) as progress:
        logits = predict_photos(
            checkpoint,
            [data.photos / data.files[i] for i in indices],
            [],
            device=choose_placement(request.device, "fp32", transformer=False).device,
            workers=request.workers,
            progress=progress,
        ).label_logits
    rules = ThresholdRules(
        min_positives=request.min_positives,
        precision=request.precision,
        recall_at_least=request.recall_at_least,
        slack=request.slack,
        recall=request.recall,
        confidence=request.confidence,
    )
    fitted = fit_thresholds(targets, logits, rules, teacher)
    counts, best, summary = summarise_thresholds(targets, logits, fitted, rules, teacher)
    write_relabelled(
        checkpoint,
        apply_thresholds(labels, fitted),
        request.out,
        {
            "thresholds": {"part": split, **summary.as_metrics(), **_serve_targets(fitted, rules)},
            "score_histograms": reference_histograms(labels.ids, logits),
        },
    )
    console.print(
        f"wrote {request.out}; serve it with: mumic serve --checkpoint {request.out}", markup=False
    )
    for warning in fitting_warnings(checkpoint.card, split, "thresholds"):
        console.print(f"warning: {warning}", markup=False)
    if fitted.saturated.any():
        console.print(f"warning: {_saturation_warning(labels.ids, fitted)}", markup=False)
    lines = [
        THRESHOLD_TABLE_HEADER,
        *threshold_table_rows(labels.ids, fitted, counts, best),
        "",
        summary.text(rules),
        *guarantee_lines(labels.ids, fitted, counts, rules, split),
        *fallback_lines(labels.ids, fitted, counts, rules, split),
        *not_served_lines(labels, fitted, counts, split, request.out),
    ]
    return "".join(f"{line}\n" for line in lines)


def _serve_targets(fitted: FittedThresholds, rules: ThresholdRules) -> dict[str, float]:
    """Return what `serve` was asked for instead of the best F1, for a checkpoint's card."""
    if rules.precision is not None:
        return {"serve_precision": float(rules.precision)}
    if rules.recall_at_least is None:
        return {}
    return {
        "serve_recall_at_least": rules.recall_at_least,
        "serve_confidence": rules.confidence,
        "guaranteed": fitted.serve_kind.count("recall"),
    }


def _saturation_warning(ids: Sequence[str], fitted: FittedThresholds) -> str:
    """Return the labels that no threshold can serve as asked, the cause, and what to do."""
    saturated = [id for id, is_saturated in zip(ids, fitted.saturated, strict=True) if is_saturated]
    return (
        f"the scores of {len(saturated)} of {len(ids)} labels are saturated: {listed(saturated)}. "
        "Their probabilities round to the same number for photos whose logits differ, and no "
        "threshold lies between equal probabilities. The rankings of these labels are not "
        "affected. Fine-tune the checkpoint with mumic train at a lower --initial-logit-scale "
        "(mumic tune finds one), then fit the thresholds again"
    )
