"""The search for the best initial logit_scale by Bayesian optimisation (section 5.2)."""

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import FloatDistribution
from optuna.samplers import GPSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.progress import Progress

from app.core.checkpoint import Checkpoint
from app.dataset.labelled import LabelledPhotos
from app.errors import DataError, OptionError
from app.training.config import TrainConfig
from app.training.run import discard, train
from app.training.tuning.search import Search, TrialResult

PARAMETER = "initial_logit_scale"
JOURNAL_FILE = "study.journal"
TABLE_FILE = "trials.csv"
FEATURES_FILE = "features.safetensors"
SETTINGS_KEY = "settings"
NOT_OF_THE_RESULT = {PARAMETER, "workers", "compile", "save_every_steps"}


def tune(
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    search: Search,
    folder: Path,
    *,
    progress: Progress,
    device: torch.device | None = None,
) -> list[TrialResult]:
    """Train from one initial logit_scale after the other; a Gaussian process says which is next.

    A search that was killed goes on where it was, in the middle of a run too, and tries the values
    that it would have tried. With more `trials` a finished search is continued.

    Args:
        init: where each run starts.
        data: what each run is trained and validated on.
        config: of each run; its `initial_logit_scale` is not looked at.
        search: which values are tried.
        folder: where the study, its table and the runs' logs are kept.
        progress: where the time left is shown.
        device: where to train; the CPU by default.

    Returns:
        The finished trials, in their order.

    Raises:
        OptionError: the range is empty or above the cap, or the folder holds something else or a
            study of other settings.
        DataError: the part validation has no positive, or a photo cannot be used.
    """
    refuse_unsearchable(search, config)
    columns = list(data.classes.values())
    if not (data.targets[data.indices("validation")][:, columns] == 1).any():
        raise DataError("no photo of the part validation has a known positive to judge a run by")
    study = _open_study(folder, _settings(init, data, config, search))
    finished = len(results_of(study))
    task = progress.add_task("trials", total=search.trials, completed=finished)
    while finished < search.trials:
        trial = _unfinished(study) or _ask(study, config.seed, search)
        run = replace(config, initial_logit_scale=trial.params[PARAMETER])
        run_folder = folder / f"trial-{trial.number:03}"
        with _own_tasks(progress):
            trained = train(
                init,
                data,
                run,
                run_folder,
                progress=progress,
                device=device,
                feature_cache=folder / FEATURES_FILE,
            )
        study.tell(trial.number, trained.measures["macro_map"])
        discard(run_folder)
        finished += 1
        _write_table(folder / TABLE_FILE, results_of(study))
        progress.update(task, completed=finished)
    return results_of(study)


def results_of(study: Study) -> list[TrialResult]:
    """The finished trials of a study, in their order."""
    return [
        TrialResult(
            number=trial.number,
            initial_logit_scale=trial.params[PARAMETER],
            macro_map=trial.values[0],
        )
        for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    ]


def refuse_unsearchable(search: Search, config: TrainConfig) -> None:
    """Refuse a range that is empty or that the cap would cut; long work asks before it starts.

    Raises:
        OptionError: it is so.
    """
    if not math.isfinite(search.low) or not search.low < search.high:
        raise OptionError("low", f"must be below --high, got {search.low} and {search.high}")
    if search.high > config.max_logit_scale:
        raise OptionError(
            "high",
            f"{search.high} is above the cap of {config.max_logit_scale:.3f}, to which every run "
            "would be cut: raise --max-logit-scale or lower --high",
        )


def _settings(
    init: Checkpoint, data: LabelledPhotos, config: TrainConfig, search: Search
) -> dict[str, Any]:
    """What the trials of one study have in common."""
    digest = hashlib.sha256(json.dumps([data.files, data.parts, data.texts]).encode())
    for tensor in (data.targets, data.soft_targets, data.positive_weights):
        digest.update(tensor.numpy().tobytes())
    return {
        **{key: value for key, value in asdict(config).items() if key not in NOT_OF_THE_RESULT},
        "low": search.low,
        "high": search.high,
        "init": init.card.sha256,
        "photos and targets": digest.hexdigest(),
    }


def _open_study(folder: Path, settings: dict[str, Any]) -> Study:
    journal = folder / JOURNAL_FILE
    if folder.exists() and not journal.is_file() and any(folder.iterdir()):
        raise OptionError(
            "out", f"{folder} holds something, and no {JOURNAL_FILE}: choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=PARAMETER,
        direction="maximize",
        load_if_exists=True,
    )
    settings = json.loads(json.dumps(settings))
    before = study.user_attrs.get(SETTINGS_KEY)
    if before is None:
        study.set_user_attr(SETTINGS_KEY, settings)
    elif before != settings:
        other = [key for key in settings if before.get(key) != settings[key]]
        raise OptionError(
            "out",
            f"{folder} is a search with another {', '.join(other)}: go on with the same settings, "
            "or choose another folder",
        )
    return study


def _unfinished(study: Study) -> FrozenTrial | None:
    """The trial in which a search was killed."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if PARAMETER in trial.params:
            return trial
        study.tell(trial.number, state=TrialState.FAIL)  # killed before it had a value
    return None


def _ask(study: Study, seed: int, search: Search) -> FrozenTrial:
    """The next trial, decided by those before it and the seed, be it in this process or another."""
    number = len(study.get_trials(deepcopy=False))
    # Mixed: the first draws of small neighbouring seeds lie close together.
    mixed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    study.sampler = GPSampler(seed=mixed, n_startup_trials=search.random_trials)
    trial = study.ask({PARAMETER: FloatDistribution(search.low, search.high)})
    return study.get_trials(deepcopy=False)[trial.number]


@contextmanager
def _own_tasks(progress: Progress) -> Iterator[None]:
    """Take away what a run added to the progress, so that the trials' bar stays in sight."""
    before = set(progress.task_ids)
    yield
    for task in set(progress.task_ids) - before:
        progress.remove_task(task)


def _write_table(path: Path, results: list[TrialResult]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(TrialResult)])
        writer.writeheader()
        writer.writerows(map(asdict, results))
    partial.replace(path)
