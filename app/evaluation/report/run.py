"""Runs `mumic evaluate`: predictions, metrics, plots and the report."""

from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import read_checkpoint
from app.core.runtime import choose_placement
from app.dataset.labelled import load_labelled_photos
from app.dataset.manifest import load_names
from app.errors import OptionError
from app.evaluation.metrics import (
    check_measurable,
    class_subsets,
    class_texts,
    compute_measures,
    draw_bootstrap_samples,
    scored_classes,
)
from app.evaluation.predictions import (
    checkpoints_by_title,
    measuring_warnings,
    predict_photos,
)
from app.evaluation.report.evaluation_report import Evaluation, write_evaluation_report
from app.evaluation.report.report_plots import draw_report_plots
from app.evaluation.report.tables import (
    few_photos_lines,
    named,
    summary_tables,
    table_to_text,
    unmeasured_classes,
)
from app.evaluation.report.training_log import read_logit_scales
from app.evaluation.requests import EvaluateRequest

MAX_NAMED = 10  # classes in a warning


def run_evaluation(request: EvaluateRequest, console: Console) -> str:
    """Measure one checkpoint or two on the same photos, and write the report.

    Args:
        request: the checkpoints, the photos and the report folder.
        console: receives progress and notes.

    Returns:
        The summary tables as text.

    Raises:
        OptionError: an option does not fit the data, or the folder cannot be created.
        DataError: the photos cannot be read, or no class can be measured.
        CheckpointError: a checkpoint is damaged.
    """
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError("out", f"{request.out} cannot be created: {error.strerror}") from error
    logit_scales = read_logit_scales(request.log) if request.log else None
    first = read_checkpoint(request.checkpoint)
    others = [read_checkpoint(request.compare_with)] if request.compare_with else []
    checkpoints = [first, *others]

    split = request.split
    names = load_names(request.names, first.labels) if request.names else None
    data = load_labelled_photos(
        request.manifest,
        request.photos,
        first.labels,
        names=names,
        split=split,
        columns=request.columns,
    )
    classes = scored_classes(data, first.labels, names, request.classes)
    subsets = class_subsets(classes, top=request.top, chosen=request.chosen)
    texts = [class_texts(classes, each.labels, names, request.classes) for each in checkpoints]

    indices = data.indices(split)
    files = [data.files[i] for i in indices]
    paths = [data.photos / file for file in files]
    targets = data.targets[indices][:, [each.column for each in classes]].numpy()
    check_measurable(targets, request.manifest, split)
    if request.example is not None and request.example not in files:
        raise OptionError(
            "example", f"{request.example!r} is not in the split {split} of {request.manifest}"
        )
    most_labels = int((targets == 1).sum(axis=1).argmax())
    example = files.index(request.example) if request.example else most_labels

    device = choose_placement(request.device, "fp32", transformer=False).device
    with Progress(console=console) as progress:
        predictions = {
            title: predict_photos(
                checkpoint,
                paths,
                checkpoint_texts,
                device=device,
                workers=request.workers,
                progress=progress,
            )
            for (title, checkpoint), checkpoint_texts in zip(
                checkpoints_by_title(checkpoints).items(), texts, strict=True
            )
        }
        draws = draw_bootstrap_samples(len(files), resamples=request.resamples, seed=request.seed)
        measures = {
            title: compute_measures(
                targets, each.logits, classes, subsets, k=request.k, draws=draws
            )
            for title, each in progress.track(predictions.items(), description="metrics")
        }
        plots = draw_report_plots(
            measures,
            predictions,
            targets,
            classes,
            paths=paths,
            example=example,
            logit_scales=logit_scales,
        )
        evaluation = Evaluation(
            measures=measures,
            manifest=str(request.manifest),
            split=split,
            photos=len(files),
            k=request.k,
            resamples=request.resamples,
            plots=list(progress.track(plots, description="plots")),
        )
    write_evaluation_report(request.out, evaluation)
    for checkpoint in checkpoints:
        for warning in measuring_warnings(checkpoint.card, split):
            console.print(f"warning: {warning}", markup=False)
    measured = next(iter(measures.values()))
    for line in few_photos_lines(measured, split, MAX_NAMED):
        console.print(f"warning: {line}", markup=False)
    for lacking, keys in unmeasured_classes(measured).items():
        console.print(
            f"warning: no average precision, and in no mean, without a known {lacking} in the "
            f"split {split} ({len(keys)} of {len(classes)} classes): {named(keys, MAX_NAMED)}",
            markup=False,
        )
    console.print(f"wrote {request.out / 'report.html'}", markup=False)
    return "".join(
        f"{title}, {split}: {len(files)} photos\n{table_to_text(table)}\n\n"
        for title, table in summary_tables(measures, request.k, intervals=False)
    )
