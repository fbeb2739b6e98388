"""Runs `mumic calibrate labels`: fits the calibration of labels and writes a checkpoint."""

from dataclasses import replace

from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import CARD_FILE, read_checkpoint, write_relabelled
from app.core.files import refuse_foreign
from app.core.labels import reference_histograms
from app.core.runtime import choose_placement
from app.errors import DataError
from app.evaluation.label_calibration.fitting import fit_calibrations
from app.evaluation.label_calibration.summary import (
    TABLE_HEADER,
    calibration_table_rows,
    summarise_calibrations,
)
from app.evaluation.metrics import check_measurable
from app.evaluation.predictions import fitting_warnings, load_requested_photos, predict_photos
from app.evaluation.requests import CalibrateLabelsRequest


def run_label_calibration(request: CalibrateLabelsRequest, console: Console) -> str:
    """Fit a calibration per label and write the checkpoint.

    A calibration that the checkpoint has is replaced. Thresholds are mapped, so that the same
    photos pass them.

    Args:
        request: the checkpoint, and the photos to fit on.
        console: receives progress and notes.

    Returns:
        The table of labels and the summary, as text.

    Raises:
        DataError: the photos cannot be read, or no label has enough of them.
        CheckpointError: the checkpoint is damaged, or another directory is at the output.
    """
    checkpoint = read_checkpoint(request.checkpoint)
    refuse_foreign(request.out, CARD_FILE)
    labels, split = checkpoint.labels, request.split
    data = load_requested_photos(request, labels, split=split)
    indices = data.indices(split)
    targets = data.targets[indices][:, data.columns_of(labels.prompts)].numpy()
    check_measurable(targets, request.manifest, split)
    with Progress(console=console) as progress:
        logits = predict_photos(
            replace(checkpoint, labels=labels.uncalibrated()),
            [data.photos / data.files[i] for i in indices],
            [],
            device=choose_placement(request.device, "fp32", transformer=False).device,
            workers=request.workers,
            progress=progress,
        ).label_logits
    fitted = fit_calibrations(targets, logits, min_positives=request.min_positives)
    if not fitted.is_own.any():
        raise DataError(
            f"{request.manifest}: no label has {request.min_positives} known positives and "
            f"{request.min_positives} known negatives (--min-positives) in the split {split}, so "
            "nothing can be calibrated; add photos, or give the split a larger share"
        )
    losses, summary = summarise_calibrations(
        targets, logits, fitted, min_positives=request.min_positives
    )
    histograms = reference_histograms(labels.ids, fitted.apply(logits).astype(logits.dtype))
    write_relabelled(
        checkpoint,
        labels.recalibrated(fitted.calibrations),
        request.out,
        {
            "calibration": {"part": split, "photos": len(indices), **summary.as_metrics()},
            "score_histograms": histograms,
        },
    )
    for warning in fitting_warnings(checkpoint.card, split, "calibration"):
        console.print(f"warning: {warning}", markup=False)
    console.print(
        "the thresholds were mapped to the calibrated probabilities: the same photos pass them\n"
        f"wrote {request.out}; serve it with: mumic serve --checkpoint {request.out}",
        markup=False,
    )
    lines = [
        TABLE_HEADER,
        *calibration_table_rows(labels.ids, targets, fitted, losses),
        "",
        summary.text(),
    ]
    return "".join(f"{line}\n" for line in lines)
