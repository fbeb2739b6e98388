"""A small training set for tests: seven real photos, four labels, a tiny model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CustomTextCLIP

from app.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.core.labels import Label, LabelSet
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.dataset.manifest import NameDefinition
from tests.support.photos import sample

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
    "cat": NameDefinition(text="cat", label=None, implies=("pets",)),
    "dog": NameDefinition(text="dog", label=None, implies=("pets",)),
    "flower": NameDefinition(text="flowers", label="flowers"),
    "pagoda": NameDefinition(text="pagoda", label="temple"),
}
HEADER = "file,part,positive,negative\n"
ROWS = """\
cat.png,train,cat,dog|flower|pagoda
coffee.png,train,dog,cat
china2.png,train,,cat|flower
china.png,train,pagoda,cat
flower.png,train,flower,cat|dog
cat2.png,validation,cat,flower
flower2.png,validation,flower,cat
"""


def write_photos(folder: Path) -> Path:
    """Write the photos of `ROWS` to a new folder."""
    folder.mkdir()
    cat, flower = sample("chelsea"), sample("flower")
    photos = {
        "cat": cat,
        "cat2": cat.crop((100, 0, *cat.size)),
        "coffee": sample("coffee"),
        "china": sample("china"),
        "flower": flower,
        "flower2": flower.crop((150, 0, *flower.size)),
        "china2": sample("china").crop((0, 0, 300, 300)),
    }
    for name, photo in photos.items():
        photo.resize((96, 80)).save(folder / f"{name}.png")
    return folder


def write_init(folder: Path) -> Checkpoint:
    """Write a checkpoint with random weights and an image tower from timm."""
    torch.manual_seed(0)
    config = {k: v for k, v in CONFIG["model_cfg"].items() if k != "custom_text"}
    model = MumicModel(
        CustomTextCLIP(**config).eval(), open_clip.SimpleTokenizer(context_length=16)
    )
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


def write_manifest(folder: Path, rows: str = ROWS) -> Path:
    """Write a manifest."""
    path = folder / "manifest.csv"
    path.write_text(HEADER + rows)
    return path


def data_of(folder: Path, photos: Path, rows: str = ROWS, **options: Any) -> LabelledPhotos:
    """Write a manifest with these rows and load its targets."""
    return load_labelled_photos(
        write_manifest(folder, rows), photos, LABELS, **{"names": NAMES, **options}
    )


def known(data: LabelledPhotos, file: str) -> Mapping[str, float]:
    """Return the known targets of a photo: presence by text without its template."""
    row = data.targets[data.files.index(file)]
    pairs = zip(data.texts, row.tolist(), strict=True)
    return {text.removeprefix("a photo with "): value for text, value in pairs if value >= 0}
