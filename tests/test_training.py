"""Training end to end on a tiny model and a handful of real photos."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP
from PIL import Image
from rich.progress import Progress
from skimage.data import astronaut, chelsea, coffee
from sklearn.datasets import load_sample_images

from app.core.checkpoint import Checkpoint, load_model, read_checkpoint, write_checkpoint
from app.core.labels import Label, LabelSet
from app.core.model import MumicModel
from app.errors import DataError, OptionError
from app.training.config import TrainConfig
from app.training.data import TrainingData, load_data
from app.training.loop import Trained, epoch_batches, train
from app.training.names import Name
from app.training.soft_targets import write_soft_targets

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 16,
        "custom_text": True,
        "quick_gelu": False,
        "vision_cfg": {"timm_model_name": "test_efficientnet", "timm_proj": "linear"},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    },
    "preprocess_cfg": {
        "size": [64, 64],
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}
CONFIG["model_cfg"]["vision_cfg"]["image_size"] = 64

LABELS = LabelSet(
    version="1",
    labels=(
        Label(id="nature", name="Nature", description="nature", category="Outside"),
        Label(
            id="flowers", name="Flowers", description="f", category="Outside", parents=("nature",)
        ),
        Label(id="pets", name="Pets", description="pets", category="Animals", positive_weight=3.0),
        Label(id="temple", name="Temple", description="temple", category="Outside"),
    ),
)
NAMES = {
    "cat": Name(text="cat", label=None, implies=("pets",)),
    "dog": Name(text="dog", label=None, implies=("pets",)),
    "flower": Name(text="flowers", label="flowers"),
    "pagoda": Name(text="pagoda", label="temple"),
}
HEADER = "file,part,positive,negative\n"
ROWS = """\
cat.png,train,cat,dog|flower|pagoda
coffee.png,train,,cat|dog
astronaut.png,train,,cat|flower
china.png,train,pagoda,cat
flower.png,train,flower,cat|dog
cat2.png,validation,cat,flower
flower2.png,validation,flower,cat
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    china, flower = load_sample_images().images
    cat = chelsea()
    arrays = {
        "cat": cat,
        "cat2": cat[:, 100:],
        "coffee": coffee(),
        "astronaut": astronaut(),
        "china": china,
        "flower": flower,
        "flower2": flower[:, 150:],
    }
    for name, array in arrays.items():
        Image.fromarray(array).resize((96, 80)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(0)
    model_cfg = {k: v for k, v in CONFIG["model_cfg"].items() if k != "custom_text"}
    model = MumicModel(
        CustomTextCLIP(**model_cfg).eval(), open_clip.SimpleTokenizer(context_length=16)
    )
    folder = tmp_path_factory.mktemp("init") / "tiny"
    write_checkpoint(
        folder,
        model,
        CONFIG,
        LABELS,
        name="tiny",
        version="1",
        readme="# Tiny\n",
        dtype=torch.float32,
    )
    return read_checkpoint(folder)


def data_of(folder: Path, photos: Path, rows: str = ROWS, **options: Any) -> TrainingData:
    manifest = folder / "manifest.csv"
    manifest.write_text(HEADER + rows)
    return load_data(manifest, photos, LABELS, **{"names": NAMES, **options})


def known(data: TrainingData, file: str) -> dict[str, float]:
    row = data.targets[data.files.index(file)]
    pairs = zip(data.texts, row.tolist(), strict=True)
    return {text.removeprefix("a photo with "): value for text, value in pairs if value >= 0}


@pytest.fixture
def progress() -> Iterator[Progress]:
    with Progress(disable=True) as bar:
        yield bar


def weights_of(trained: Trained) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = trained.model.clip.state_dict()
    return state


CONFIG_FAST = TrainConfig(learning_rate=1e-3, batch_size=2, epochs=3, save_every_steps=1)


def test_a_name_speaks_for_its_text_its_label_what_it_implies_and_their_ancestors(
    tmp_path: Path, photos: Path
) -> None:
    data = data_of(tmp_path, photos)
    assert known(data, "cat.png") == {
        **{"cat": 1.0, "pets": 1.0, "dog": 0.0},
        **{"flowers": 0.0, "pagoda": 0.0, "temple": 0.0},
    }
    assert known(data, "coffee.png") == {"cat": 0.0, "dog": 0.0, "pets": 0.0}
    assert known(data, "astronaut.png") == {"cat": 0.0, "flowers": 0.0}
    assert known(data, "flower.png") == {
        **{"flowers": 1.0, "nature": 1.0},
        **{"cat": 0.0, "dog": 0.0, "pets": 0.0},
    }
    weights = dict(zip(data.texts, data.positive_weights.tolist(), strict=True))
    assert weights["a photo with pets"] == 3.0
    assert weights["a photo with cat"] == 10.0
    assert data.warnings == (
        "no positive photo in the part train: dog",
        "no photo in the part test",
    )


def test_without_names_the_manifest_speaks_of_label_ids(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, "cat.png,train,pets,temple\n", names=None)
    assert known(data, "cat.png") == {"pets": 1.0, "temple": 0.0}


def test_a_name_left_out_leaves_no_trace_in_training(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, leave_out=["cat", "flower"])
    assert known(data, "cat.png") == {"dog": 0.0, "pagoda": 0.0, "temple": 0.0}
    assert known(data, "coffee.png") == {"dog": 0.0}
    assert known(data, "flower.png") == {"dog": 0.0}
    assert known(data, "cat2.png") == {"cat": 1.0, "pets": 1.0, "flowers": 0.0}


def test_soft_targets_find_their_photos_and_texts(tmp_path: Path, photos: Path) -> None:
    file = tmp_path / "soft.safetensors"
    texts = ["a photo with Cat", "a photo with espresso"]
    soft = torch.tensor([[0.25, 0.75], [-1.0, 0.5]])
    write_soft_targets(file, ["coffee.png", "cat.png"], texts, soft)
    data = data_of(tmp_path, photos, soft_targets=file, leave_out=["cat"])
    column = data.texts.index("a photo with espresso")
    assert data.soft_targets[data.files.index("coffee.png"), column] == 0.75
    assert data.soft_targets[data.files.index("cat.png"), column] == 0.5
    assert (data.soft_targets[:, data.classes["cat"]] == -1).all()
    assert (data.soft_targets[data.files.index("china.png")] == -1).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("dog.png,train,cat,\n", "row 2, column file: no photo"),
        ("cat.png,train,cta,\n", "row 2, column positive: unknown name 'cta'; nearest known: cat"),
        ("cat.png,train,cat,cat\n", "row 2, columns positive and negative: both hold cat"),
        ("cat.png,training,cat,\n", "row 2, column part: 'training' is none of"),
        (",train,cat,\n", "row 2, column file: is empty"),
        ("cat.png,test,cat,\n", "no photo is in the part train"),
        (
            "cat.png,train,cat,\ncat.png,test,cat,\n",
            "rows 2 and 3 are both of cat.png, column part",
        ),
        ("cat.png,train,cat,\ncat.png,train,,cat\n", "rows 2 and 3 .* disagree on cat"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_place(
    tmp_path: Path, photos: Path, rows: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        data_of(tmp_path, photos, rows)


def test_a_manifest_without_a_column_is_refused(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,part\n")
    with pytest.raises(DataError, match="no column positive, negative"):
        load_data(tmp_path / "manifest.csv", photos, LABELS)


def test_rows_of_one_photo_that_agree_are_one(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, "cat.png,train,cat,\ncat.png,train,,dog\n")
    assert data.files == ("cat.png",)
    assert known(data, "cat.png") == {"cat": 1.0, "dog": 0.0, "pets": 1.0}


def test_an_unknown_name_to_leave_out_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(OptionError, match="unknown name 'cow'"):
        data_of(tmp_path, photos, leave_out=["cow"])


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_soft_targets_that_cannot_be_read_are_refused(
    tmp_path: Path, photos: Path, content: bytes
) -> None:
    (tmp_path / "soft.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="not a file of soft targets"):
        data_of(tmp_path, photos, soft_targets=tmp_path / "soft.safetensors")


def test_soft_targets_outside_their_range_are_refused(tmp_path: Path, photos: Path) -> None:
    write_soft_targets(tmp_path / "s", ["cat.png"], ["a photo with cat"], torch.tensor([[1.5]]))
    with pytest.raises(DataError, match=r"must be in \[0, 1\]"):
        data_of(tmp_path, photos, soft_targets=tmp_path / "s")


def test_a_photo_that_does_not_decode_stops_the_run_by_name(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    (tmp_path / "broken.png").write_bytes((photos / "cat.png").read_bytes()[:500])
    data = data_of(tmp_path, tmp_path, "broken.png,train,cat,\n")
    with pytest.raises(DataError, match=r"broken\.png: cannot be used"):
        train(init, data, CONFIG_FAST, tmp_path / "run", progress=progress)


class KilledError(Exception):
    pass


class KillingProgress(Progress):
    """Stops the run after some steps, as a kill would between two of them."""

    def __init__(self, after: int) -> None:
        super().__init__(disable=True)
        self.left = after

    def update(self, *args: Any, **options: Any) -> None:
        super().update(*args, **options)
        self.left -= 1
        if self.left < 0:
            raise KilledError


@pytest.mark.parametrize("freeze_image", [False, True])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress, freeze_image: bool
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, freeze_image=freeze_image)
    whole = train(init, data, config, tmp_path / "whole", progress=progress)
    for after in (1, 2):
        with pytest.raises(KilledError):
            train(init, data, config, tmp_path / "killed", progress=KillingProgress(after))
    resumed = train(init, data, config, tmp_path / "killed", progress=progress)
    torch.testing.assert_close(weights_of(resumed), weights_of(whole), rtol=0, atol=0)
    logs = [(tmp_path / run / "log.csv").read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert resumed.validation == pytest.approx(whole.validation, nan_ok=True)


def test_a_state_of_other_settings_is_not_continued(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    with pytest.raises(KilledError):
        train(init, data, CONFIG_FAST, tmp_path / "run", progress=KillingProgress(2))
    with pytest.raises(OptionError, match="an interrupted run with other settings"):
        train(init, data, replace(CONFIG_FAST, seed=1), tmp_path / "run", progress=progress)


def test_training_lowers_the_loss_and_keeps_the_scale_under_its_cap(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, epochs=15, max_logit_scale=3.65, learning_rate=3e-3)
    trained = train(init, data, config, tmp_path / "run", progress=progress)
    assert trained.history[-1]["loss"] < 0.3 * trained.history[0]["loss"]
    assert trained.history[-1]["logit_scale"] <= 3.65 + 1e-6


def test_frozen_towers_stay_as_they_are(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, freeze_text=True, freeze_image=True)
    trained = weights_of(train(init, data, config, tmp_path / "run", progress=progress))
    before = load_model(init.directory).clip.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, trained[key])}
    assert changed == {"visual.head.proj.weight", "logit_scale"}


def test_the_order_of_photos_changes_with_the_epoch_and_repeats_with_the_seed() -> None:
    indices = torch.arange(100)
    config = TrainConfig(batch_size=8)
    first, again, second = (torch.cat(epoch_batches(indices, config, e)) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert len(first) == 96


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = [config.learning_rate_at(step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] < 1e-4
