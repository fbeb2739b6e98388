"""Runs `mumic compare`: scores models on the same photos and compares them."""

from rich.console import Console
from rich.progress import Progress

from app.baselines.comparison.compared_models import (
    label_set_of,
    parse_compared_models,
    score_compared_models,
)
from app.baselines.comparison.comparison import compare
from app.baselines.comparison.tables import as_json, markdown_lines
from app.baselines.requests import CompareRequest
from app.dataset.labelled import load_labelled_photos
from app.dataset.manifest import load_names
from app.evaluation.metrics import check_measurable, scored_classes


def run_comparison(request: CompareRequest, console: Console) -> str:
    """Score every model on the same photos and compare them.

    Args:
        request: the models, the photos and the form of the result.
        console: receives progress.

    Returns:
        The tables as Markdown, or everything as JSON.

    Raises:
        OptionError: a model is not valid, or does not have a class of the data.
        DataError: the photos cannot be read, or no class can be measured.
        CheckpointError: a checkpoint is damaged.
    """
    models = parse_compared_models(request.models)
    label_set = label_set_of(models)
    names = load_names(request.names, label_set) if request.names else None
    data = load_labelled_photos(
        request.manifest,
        request.photos,
        label_set,
        names=names,
        split=request.split,
        columns=request.columns,
    )
    classes = scored_classes(data, label_set, names, "names")
    targets = data.targets[data.indices(request.split)][:, [each.column for each in classes]]
    check_measurable(targets.numpy(), request.manifest, request.split)
    with Progress(console=console) as progress:
        scored = score_compared_models(
            models,
            data,
            request.split,
            classes,
            names=names,
            device=request.device,
            workers=request.workers,
            progress=progress,
        )
    comparison = compare(scored, top=request.top, resamples=request.resamples, seed=request.seed)
    return f"{as_json(comparison)}\n" if request.as_json else "".join(markdown_lines(comparison))
