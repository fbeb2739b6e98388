"""The search for the initial logit_scale, on a tiny model and a handful of real photos."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image
from rich.progress import Progress

from app.core.checkpoint import Checkpoint
from app.errors import DataError, OptionError
from app.training.config import TrainConfig
from app.training.tuning import Search, TrialResult, tune
from tests.support.command import mumic
from tests.support.killing import KilledError, KillingProgress
from tests.support.training_set import NAMES, data_of, write_manifest, write_photos

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(
    learning_rate=1e-3, batch_size=2, epochs=1, freeze_text=True, freeze_image=True
)
SEARCH = Search(trials=3, random_trials=2)


def test_killed_search_resumes_with_same_trials(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    whole = tune(init, data, CONFIG, SEARCH, tmp_path / "whole", progress=progress)
    for after in (1, 4):
        with pytest.raises(KilledError):
            tune(init, data, CONFIG, SEARCH, tmp_path / "killed", progress=KillingProgress(after))
    resumed = tune(init, data, CONFIG, SEARCH, tmp_path / "killed", progress=progress)
    assert [(r.initial_logit_scale, r.macro_map) for r in resumed] == [
        (r.initial_logit_scale, r.macro_map) for r in whole
    ]
    tables = [(tmp_path / run / "trials.csv").read_text() for run in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 4


def test_finished_search_continues_with_more_trials(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)

    def search(trials: int) -> list[TrialResult]:
        values = Search(trials, random_trials=2, low=1.0, high=2.0)
        return tune(init, data, CONFIG, values, tmp_path / "study", progress=progress)

    first = search(2)
    assert search(2) == first
    more = search(3)
    assert more[:2] == first
    assert len({result.initial_logit_scale for result in more}) == 3
    assert all(1.0 <= result.initial_logit_scale <= 2.0 for result in more)
    assert not list((tmp_path / "study").glob("trial-*/state.pt"))


def test_folder_with_other_contents_is_refused(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    folder, one = tmp_path / "study", Search(trials=1)
    tune(init, data, CONFIG, one, folder, progress=progress)
    other = replace(CONFIG, epochs=2, seed=1)
    with pytest.raises(OptionError, match="another epochs, seed:"):
        tune(init, data, other, one, folder, progress=progress)
    rows = "cat.png,train,cat,dog\ncoffee.png,train,,cat\ncat2.png,validation,cat,\n"
    rows += "flower2.png,validation,,cat\n"
    with pytest.raises(OptionError, match="another photos and targets:"):
        tune(init, data_of(tmp_path, photos, rows), CONFIG, one, folder, progress=progress)
    with pytest.raises(OptionError, match=r"has no study\.journal"):
        tune(init, data, CONFIG, one, photos, progress=progress)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Search(low=3, high=2), "low: must be below --high"),
        (Search(low=float("nan")), "low: must be below --high"),
        (Search(high=6), "high: 6 is above the cap of 4.605"),
    ],
)
def test_invalid_search_range_is_refused(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    search: Search,
    message: str,
) -> None:
    with pytest.raises(OptionError, match=message):
        tune(init, data_of(tmp_path, photos), CONFIG, search, tmp_path / "s", progress=progress)
    assert not (tmp_path / "s").exists()


def test_validation_split_without_positive_is_refused(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos, "cat.png,train,cat,dog\ncat2.png,validation,,dog\n")
    with pytest.raises(DataError, match="validation"):
        tune(init, data, CONFIG, SEARCH, tmp_path / "study", progress=progress)


def tune_arguments(folder: Path, photos: Path, init: Checkpoint, out: Path) -> list[str | Path]:
    names = folder / "names.yaml"
    names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
    manifest = write_manifest(folder)
    arguments: list[str | Path] = ["tune", "--init", init.directory, "--manifest", manifest]
    arguments += ["--photos", photos, "--names", names, "--out", out, "--freeze-image"]
    return [*arguments, *"--freeze-text --epochs 1 --batch-size 2 --random-trials 2".split()]


def test_tune_command_skips_allowed_number_of_bad_photos(
    tmp_path: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = write_photos(tmp_path / "photos")
    (photos / "china2.png").write_text("no image")
    out = tmp_path / "study"
    arguments = [*tune_arguments(tmp_path, photos, init, out), "--trials", "1"]
    run = mumic(monkeypatch, capsys, *arguments)
    assert run.code == 1
    assert "1 of 7 photos cannot be decoded, more than the 0 that --max-bad-photos" in run.err
    run = mumic(monkeypatch, capsys, *arguments, "--max-bad-photos", "1")
    assert run.code == 0, run.err
    assert "1 of 7 photos cannot be decoded and are skipped" in run.err
    assert "row 4" in (tmp_path / "study.run" / "bad_photos.txt").read_text()


def test_tune_command_prints_best_and_plots_trials(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "study"
    arguments = tune_arguments(tmp_path, photos, init, out)
    run = mumic(monkeypatch, capsys, *arguments, "--trials", "4", "--max-logit-scale", "3")
    assert run.code == 0, run.err
    header, *lines = run.out.splitlines()
    assert header.split() == ["trial", "initial", "logit_scale", "macro", "mAP"]
    assert len(lines) == 4
    (best,) = (line.split() for line in lines if line.endswith("best"))
    assert float(best[2]) == max(float(line.split()[2]) for line in lines)
    assert f"--initial-logit-scale {best[1]}" in run.err
    with Image.open(out / "trials.png") as plot:
        assert plot.format == "PNG"
    run = mumic(monkeypatch, capsys, *arguments, "--low", "4", "--high", "3")
    assert (run.code, run.out) == (2, "")
    assert "low: must be below --high" in run.err
