"""Search for the best initial logit_scale by Bayesian optimisation (section 5.2)."""

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
from app.core.images import decoder_fingerprint
from app.dataset.labelled import LabelledPhotos
from app.errors import DataError, OptionError
from app.evaluation.metrics import measurable
from app.training.config import TrainConfig
from app.training.run import delete_state, train
from app.training.tuning.search import Search, TrialResult

PARAMETER = "initial_logit_scale"
JOURNAL_FILE = "study.journal"
TABLE_FILE = "trials.csv"
FEATURES_FILE = "features.safetensors"
SETTINGS_KEY = "settings"
# They may differ between the trials of a study: the search varies one, and the others do not
# affect the result.
IGNORED_SETTINGS = {PARAMETER, "workers", "compile", "save_every_steps"}


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
    """Train with one initial logit_scale after the other; a Gaussian process chooses the next.

    A search that was killed resumes, in the middle of a run if need be, and tries the same values
    as an uninterrupted one. With more `trials`, a finished search continues.

    Args:
        init: the initial weights of each run.
        data: the photos that each run is trained and validated on.
        config: of each run; the search replaces its `initial_logit_scale`.
        search: the values to try.
        folder: the folder of the study, its table and the runs' logs.
        progress: shows the time left.
        device: the device to train on; the CPU by default.

    Returns:
        The finished trials, in their order.

    Raises:
        OptionError: the range is empty or above the cap, or the folder holds other files or a
            study with other settings.
        DataError: macro mAP is undefined on the validation split, or a photo cannot be used.
    """
    check_search(search, config)
    columns = list(data.classes.values())
    if not measurable(data.targets[data.indices("validation")][:, columns].numpy()).any():
        raise DataError(
            "no label has both a positive and a negative photo in the split validation, so macro "
            "mAP is undefined and runs cannot be compared"
        )
    study = _open_study(folder, _settings(init, data, config, search))
    finished = len(results_of(study))
    task = progress.add_task("trials", total=search.trials, completed=finished)
    while finished < search.trials:
        trial = _interrupted_trial(study) or _next_trial(study, config.seed, search)
        run = replace(config, initial_logit_scale=trial.params[PARAMETER])
        run_folder = folder / f"trial-{trial.number:03}"
        with _temporary_tasks(progress):
            result = train(
                init,
                data,
                run,
                run_folder,
                progress=progress,
                device=device,
                feature_cache=folder / FEATURES_FILE,
            )
        study.tell(trial.number, result.measures["macro_map"])
        delete_state(run_folder)
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


def check_search(search: Search, config: TrainConfig) -> None:
    """Check the range of a search before any photo is read.

    Raises:
        OptionError: the range is empty, or exceeds the cap of the runs.
    """
    if not math.isfinite(search.low) or not search.low < search.high:
        raise OptionError("low", f"must be below --high, got {search.low} and {search.high}")
    if search.high > config.max_logit_scale:
        raise OptionError(
            "high",
            f"{search.high} is above the cap of {config.max_logit_scale:.3f}, to which every run "
            "would reduce it: raise --max-logit-scale or lower --high",
        )


def _settings(
    init: Checkpoint, data: LabelledPhotos, config: TrainConfig, search: Search
) -> dict[str, Any]:
    """The settings and data that all trials of one study share."""
    digest = hashlib.sha256(json.dumps([data.files, data.splits, data.texts]).encode())
    for tensor in (data.targets, data.soft_targets, data.positive_weights):
        digest.update(tensor.numpy().tobytes())
    return {
        **{key: value for key, value in asdict(config).items() if key not in IGNORED_SETTINGS},
        "low": search.low,
        "high": search.high,
        "init": init.card.sha256,
        "photos and targets": digest.hexdigest(),
        "photo decoder": decoder_fingerprint(),
    }


def _open_study(folder: Path, settings: dict[str, Any]) -> Study:
    journal = folder / JOURNAL_FILE
    if folder.exists() and not journal.is_file() and any(folder.iterdir()):
        raise OptionError(
            "out", f"{folder} is not empty and has no {JOURNAL_FILE}: choose another folder"
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
            f"{folder} holds a search with another {', '.join(other)}: use the same settings, "
            "or choose another folder",
        )
    return study


def _interrupted_trial(study: Study) -> FrozenTrial | None:
    """The trial during which the search was killed, if any."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if PARAMETER in trial.params:
            return trial
        study.tell(trial.number, state=TrialState.FAIL)  # killed before its value was drawn
    return None


def _next_trial(study: Study, seed: int, search: Search) -> FrozenTrial:
    """Draw the next trial; it depends on the earlier trials and the seed, not on the process."""
    number = len(study.get_trials(deepcopy=False))
    # The first draws of small neighbouring seeds lie close together, so the seed is hashed.
    mixed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    study.sampler = GPSampler(seed=mixed, n_startup_trials=search.random_trials)
    trial = study.ask({PARAMETER: FloatDistribution(search.low, search.high)})
    return study.get_trials(deepcopy=False)[trial.number]


@contextmanager
def _temporary_tasks(progress: Progress) -> Iterator[None]:
    """Remove the bars that a run adds, so that the bar of the trials stays visible."""
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
