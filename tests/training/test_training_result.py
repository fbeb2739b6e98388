"""The results of a run: the best epoch's weights, averaged weights, logs, intact files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from tensorboard.backend.event_processing import event_accumulator

from app.core.checkpoint import Checkpoint
from app.core.files import atomic_file
from app.dataset.photos import decode_photos
from app.errors import DataError, DiskError, OptionError
from app.training.config import BestBy, TrainConfig
from app.training.data import features
from app.training.run import TrainingResult, evaluate, train
from app.training.run.validation import selection_metric
from tests.support.disk import limited_file_size
from tests.support.training_set import ROWS, data_of

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(learning_rate=3e-3, batch_size=2, epochs=4, min_crop=0.5)


def epochs_of(trained: TrainingResult) -> dict[int, float]:
    return {int(row["step"]): row["macro_map"] for row in trained.history if "macro_map" in row}


@pytest.mark.parametrize("ema_decay", [None, 0.5])
@pytest.mark.parametrize("best_by", ["auto", "gap-at-10", "last"])
def test_result_has_weights_of_best_epoch_in_log(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    best_by: BestBy,
    ema_decay: float | None,
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, best_by=best_by, ema_decay=ema_decay)
    trained = train(init, data, config, tmp_path / "run", progress=progress)
    measured = epochs_of(trained)
    if best_by == "last":
        assert trained.best_step == max(measured)
    elif best_by == "auto":
        assert measured[trained.best_step] == max(measured.values())
    found = evaluate(trained.model, init.preprocess, data, "validation")
    assert found == pytest.approx(trained.validation, nan_ok=True)


def test_auto_selects_by_gap_with_many_known_labels(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos)
    assert selection_metric("auto", data) == "macro_map"
    targets = torch.zeros(len(data.files), 11)
    targets[data.indices("validation")[0]] = 1
    many = replace(data, classes={f"n{i}": i for i in range(11)}, targets=targets)
    assert selection_metric("auto", many) == "gap_at_10"
    assert selection_metric("macro-map", many) == "macro_map"
    ten = replace(many, classes={f"n{i}": i for i in range(10)})
    assert selection_metric("auto", ten) == "macro_map"


def test_undefined_macro_map_does_not_select(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,cat,dog\ncat2.png,validation,cat,dog\n"
    data = data_of(tmp_path, photos, rows)
    assert selection_metric("auto", data) == "gap_at_10"
    with pytest.raises(OptionError, match="macro-map is undefined: no label has both"):
        selection_metric("macro-map", data)


def test_empty_validation_split_selects_last_epoch(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos, "".join(ROWS.splitlines(keepends=True)[:5]))
    trained = train(init, data, CONFIG, tmp_path / "run", progress=progress)
    assert trained.best_step == trained.history[-1]["step"]
    with pytest.raises(
        OptionError, match="best-by: macro-map needs photos in the split validation"
    ):
        train(init, data, replace(CONFIG, best_by="macro-map"), tmp_path, progress=progress)


def test_averaged_weights_change_more_slowly(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, best_by="last")
    scales = [
        train(
            init, data, replace(config, ema_decay=decay), tmp_path / str(decay), progress=progress
        ).model.logit_scale.item()
        for decay in (None, 0.9)
    ]
    assert config.initial_logit_scale is not None
    distances = [abs(scale - config.initial_logit_scale) for scale in scales]
    assert distances == sorted(distances, reverse=True)
    assert len(set(distances)) == 2


def test_cached_pixels_give_same_weights(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    paths = [photos / file for file in data.files]
    pixels = decode_photos(paths, init.preprocess, keep=True, progress=progress).pixels
    read = train(init, data, CONFIG, tmp_path / "read", progress=progress)
    kept = train(init, data, CONFIG, tmp_path / "kept", progress=progress, pixels=pixels)
    first, second = (trained.model.clip.state_dict() for trained in (read, kept))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_frozen_logit_scale_is_not_trained(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, freeze_logit_scale=True, initial_logit_scale=0.0, epochs=1)
    trained = train(init, data, config, tmp_path / "run", progress=progress)
    assert trained.model.logit_scale.item() == 0.0


def test_infinite_loss_stops_run(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    with pytest.raises(OptionError, match=r"learning-rate: the loss is (nan|inf) at step"):
        train(init, data, replace(CONFIG, learning_rate=1e30), tmp_path / "run", progress=progress)


def test_tensorboard_and_csv_have_same_values(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    trained = train(init, data_of(tmp_path, photos), CONFIG, tmp_path / "run", progress=progress)
    events = event_accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    for name in ("loss", "learning_rate", "logit_scale", "macro_map"):
        logged = {event.step: event.value for event in events.Scalars(name)}
        expected = {row["step"]: row[name] for row in trained.history if name in row}
        assert logged == pytest.approx(expected)
    header, *rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert header.startswith("step,learning_rate,loss,soft_loss,logit_scale,macro_map,gap,")
    assert len(rows) == len(trained.history)


def test_full_disk_leaves_previous_state_intact(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    run, data = tmp_path / "run", data_of(tmp_path, photos)
    config = replace(CONFIG, save_every_steps=1)
    train(init, data, config, run, progress=progress)
    before = (run / "state.pt").read_bytes()
    (run / "state.pt.partial").symlink_to("/dev/full")
    full = pytest.raises(DiskError, match=r"state\.pt: cannot be written: .*No space left")
    with full, atomic_file(run / "state.pt") as file:
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert (run / "state.pt").read_bytes() == before
    resumed = train(init, data, config, run, progress=progress)
    assert resumed.best_step in epochs_of(resumed)


# TensorBoard's own thread fails as well.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("size_bytes", "problem"), [(50, "TensorBoard's events"), (100_000, r"\.pt: cannot be written")]
)
def test_disk_full_within_file_stops_run_and_allows_resume(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    size_bytes: int,
    problem: str,
) -> None:
    run, data = tmp_path / "run", data_of(tmp_path, photos)
    config = replace(CONFIG, save_every_steps=1)
    with pytest.raises(DiskError, match=problem), limited_file_size(size_bytes):
        train(init, data, config, run, progress=progress)
    assert not list(run.glob("*.partial"))
    assert train(init, data, config, run, progress=progress).best_step


def test_damaged_feature_cache_is_named(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data, cache = data_of(tmp_path, photos), tmp_path / "features.safetensors"
    config = replace(CONFIG, freeze_image=True, epochs=1)
    cache.write_bytes(b"half")
    with pytest.raises(DataError, match=r"features\.safetensors: not a file of features"):
        train(init, data, config, tmp_path / "run", progress=progress, feature_cache=cache)


def test_feature_cache_of_other_decoder_is_replaced(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, cache = data_of(tmp_path, photos), tmp_path / "features.safetensors"
    config = replace(CONFIG, freeze_image=True, epochs=1)
    written = []
    for number, decoder in enumerate(["old", "old", "new"]):
        monkeypatch.setattr(features, "decoder_fingerprint", lambda decoder=decoder: decoder)
        train(init, data, config, tmp_path / str(number), progress=progress, feature_cache=cache)
        written.append(cache.stat().st_ino)
    assert written[0] == written[1] != written[2]


def test_disk_full_leaves_no_partial_feature_cache(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data, cache = data_of(tmp_path, photos), tmp_path / "features.safetensors"
    config = replace(CONFIG, freeze_image=True, epochs=1)
    with pytest.raises(DiskError, match=r"features\.safetensors"), limited_file_size(100):
        train(init, data, config, tmp_path / "run", progress=progress, feature_cache=cache)
    assert not cache.exists()


def test_kill_while_writing_leaves_previous_file_intact(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"good")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"good"
    with atomic_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
