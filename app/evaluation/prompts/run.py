"""Runs `mumic prompts`: chooses each label's text and writes a checkpoint directory."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import Progress

from app.core.checkpoint import CARD_FILE, read_checkpoint, write_relabelled
from app.core.files import refuse_foreign
from app.core.runtime import choose_placement
from app.errors import OptionError
from app.evaluation.metrics import check_measurable
from app.evaluation.predictions import load_requested_photos, predict_photos
from app.evaluation.prompts.choice import (
    PromptChoice,
    apply_prompt_choices,
    choose_prompts,
    name_and_description_texts,
)
from app.evaluation.prompts.plot import plot_prompt_gaps
from app.evaluation.requests import PromptsRequest


def run_prompts(request: PromptsRequest, console: Console) -> str:
    """Choose name or description for each label, write the checkpoint and the plot.

    Args:
        request: the checkpoint, the photos to choose by, and the rules.
        console: receives progress and notes.

    Returns:
        The table of labels, as text.

    Raises:
        OptionError: an option is out of range.
        DataError: the photos cannot be read, or no label can be measured.
        CheckpointError: the checkpoint is damaged, or another directory is at the output.
    """
    if not 0 < request.level < 1:
        raise OptionError("level", f"must be above 0 and below 1, got {request.level}")
    if not request.out.name:
        raise OptionError("out", f"must end in the folder's name, got {request.out}")
    plot = request.plot or request.out.with_name(f"{request.out.name}.prompts.png")
    if plot.suffix not in {".png", ".svg"}:
        raise OptionError("plot", f"must end in .png or .svg, got {plot}")
    checkpoint = read_checkpoint(request.checkpoint)
    refuse_foreign(request.out, CARD_FILE)
    labels, split = checkpoint.labels, request.split
    data = load_requested_photos(request, labels, split=split)
    indices = data.indices(split)
    targets = data.targets[indices][:, data.columns_of(labels.prompts)].numpy()
    check_measurable(targets, request.manifest, split)
    names, descriptions = name_and_description_texts(labels)
    with Progress(console=console) as progress:
        scores = predict_photos(
            checkpoint,
            [data.photos / data.files[i] for i in indices],
            [*names, *descriptions],
            device=choose_placement(request.device, "fp32", transformer=False).device,
            workers=request.workers,
            progress=progress,
        ).logits
    count = len(labels.labels)
    choices = choose_prompts(
        labels,
        targets,
        scores[:, :count],
        scores[:, count:],
        min_positives=request.min_positives,
        level=request.level,
    )
    changed = [choice.id for choice in choices if choice.chosen != choice.present]
    metrics = {"prompts": {"part": split, "changed": changed}}
    write_relabelled(checkpoint, apply_prompt_choices(labels, choices), request.out, metrics)
    plot_prompt_gaps(choices, plot)
    console.print(f"wrote {request.out} and {plot}", markup=False)
    if changed:
        console.print(
            "the thresholds of changed labels were fitted for their old texts: run mumic thresholds"
        )
    return "".join(f"{line}\n" for line in _table(choices, changed=len(changed)))


def _table(choices: Sequence[PromptChoice], *, changed: int) -> Iterator[str]:
    yield f"{'label':24} {'pos':>5} {'neg':>5} {'name':>6} {'descr.':>6} {'gap':>7} interval"
    for choice in choices:
        if choice.is_measured:
            yield (
                f"{choice.id:24} {choice.positives:5} {choice.negatives:5} {choice.name_ap:6.3f} "
                f"{choice.description_ap:6.3f} {choice.gap:+7.3f} "
                f"{choice.low:+.3f} to {choice.high:+.3f}  {choice.chosen}, {choice.reason}"
            )
    without = sum(not choice.is_measured for choice in choices)
    yield ""
    yield (
        f"{changed} of {len(choices)} labels changed; {without} kept without a known positive or "
        "without a known negative"
    )
