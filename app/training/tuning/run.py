"""Runs `mumic tune`: searches the initial logit_scale and prints a table of trials."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from app.core.checkpoint import read_checkpoint
from app.core.runtime import choose_placement
from app.training.requests import TuneRequest
from app.training.run import (
    decodable_photos,
    launch_fabric,
    load_training_data,
    print_warnings,
    progress_bars,
)
from app.training.tuning.plot import plot_trials
from app.training.tuning.search import Search, TrialResult
from app.training.tuning.study import TABLE_FILE, check_search, tune


def run_tuning(request: TuneRequest, console: Console) -> str:
    """Search for the best initial logit_scale; an interrupted search is resumed.

    Args:
        request: the checkpoint to start from, the photos, and the settings of search and runs.
        console: receives progress, warnings and notes.

    Returns:
        The table of trials, as text.

    Raises:
        OptionError: an option is out of range, or the folder holds another search.
        DataError: the photos cannot be read, or are not enough to train on.
        CheckpointError: the checkpoint is damaged.
        DiskError: the state of a run cannot be written.
    """
    init = read_checkpoint(request.init)
    data = load_training_data(request, init, soft_targets=request.soft_targets)
    config = request.train_config()
    high = config.max_logit_scale if request.high is None else request.high
    search = Search(request.trials, request.random_trials, request.low, high)
    check_search(search, config)
    placement = choose_placement(request.device, config.precision, transformer=False)
    print_warnings(data, request.manifest, console)
    with progress_bars(console) as progress:
        data, _ = decodable_photos(
            data,
            init.preprocess,
            request.manifest,
            request.out.with_name(f"{request.out.name}.run"),
            max_bad=request.max_bad_photos,
            keep=False,
            workers=request.workers,
            fabric=launch_fabric(placement, 1, console),
            progress=progress,
        )
        results = tune(
            init,
            data,
            config,
            search,
            request.out,
            progress=progress,
            device=placement.device,
        )
    plot = request.out / "trials.png"
    plot_trials(results, plot)
    best = max(results, key=lambda result: result.macro_map)
    console.print(f"wrote {request.out / TABLE_FILE} and {plot}", markup=False)
    console.print(f"train with --initial-logit-scale {best.initial_logit_scale:.4f}", markup=False)
    return "".join(f"{line}\n" for line in _table(results, best))


def _table(results: Sequence[TrialResult], best: TrialResult) -> Iterator[str]:
    yield f"{'trial':>5} {'initial logit_scale':>19} {'macro mAP':>9}"
    for result in sorted(results, key=lambda result: result.initial_logit_scale):
        mark = "  best" if result is best else ""
        yield f"{result.number:5} {result.initial_logit_scale:19.4f} {result.macro_map:9.4f}{mark}"
