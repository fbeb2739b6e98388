"""Makes the manifest and the teacher's soft targets from the photo set and the ImageNet network.

Writes to the work folder: `manifest.csv`, `unlabelled.csv` (the manifest without the human labels
of training photos) and `soft_targets.safetensors`.
"""

import argparse
import csv
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import torch
import yaml
from imagenet import imagenet_network
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader
from vocabulary import imagenet_names

from app.core.images import Preprocess, normalize
from app.core.labels import LabelSet, load_label_set, render
from app.dataset.labelled import UNKNOWN_TARGET
from app.dataset.labelled.soft_targets import write_soft_targets
from app.dataset.manifest import NameDefinition, Split, load_names
from app.dataset.manifest.manifest_file import COLUMNS
from app.dataset.photos import PhotoDataset

HERE = Path(__file__).parent
BATCH_SIZE = 32
FLOOR = 0.02  # a lower probability of the teacher counts as 0
# Annotators were not asked whether a bathroom photo shows the sea, or a seaside photo a bathroom.
# The following is an assumption about two sources, not a human label: photos of rooms in `houses`
# show no label of NATURE; landscapes in `miml` show no kitchen and no label of the categories
# INDOORS.
ROOMS = ("bathroom", "bedroom", "kitchen")
NATURE = {
    *("natural_landscape", "beach", "sea", "lake", "river", "mountains", "desert", "forest"),
    *("countryside", "sunset", "snow", "sea_view", "mountain_view", "harbor", "street", "city"),
    *("airplane", "boat", "bus", "train", "motorcycle"),
}
INDOORS = ("Room", "Bathroom")


def split_of(photo: bytes) -> Split:
    """Return the split of a photo by the hash of its bytes: 80 % train, 10 % each of the others."""
    digit = int(sha256(photo).hexdigest(), 16) % 10
    return "validation" if digit == 8 else "test" if digit == 9 else "train"


def manifest_row(
    row: dict[str, str], photos: Path, names: dict[str, NameDefinition]
) -> dict[str, str]:
    """Return a photo's row of the manifest; it was annotated only for the names of its source."""
    positive = row["positive"].split("|") if row["positive"] else []
    annotated = [key for key, name in names.items() if name.source == row["source"]]
    return {
        "file": row["file"],
        "part": split_of((photos / row["file"]).read_bytes()),
        "positive": "|".join(positive),
        "negative": "|".join(key for key in annotated if key not in positive),
    }


def without_labels(row: dict[str, str]) -> dict[str, str]:
    """Return the row without labels if it is of the train split, else the row itself."""
    return {**row, "positive": "", "negative": ""} if row["part"] == "train" else row


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a manifest."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@torch.inference_mode()
def teacher_probabilities(weights: Path, paths: list[Path]) -> Tensor:
    """Return the teacher's (N, 1000) probabilities, with the student's preprocessing."""
    config = yaml.safe_load((HERE / "model_config.json").read_text())["preprocess_cfg"]
    preprocess = Preprocess.from_config(config, exif_orientation=True)
    teacher = imagenet_network(weights)
    loader = DataLoader(PhotoDataset(paths, preprocess), BATCH_SIZE, num_workers=1)
    rows = []
    for pixels in track(loader, "teacher"):
        rows.append(teacher(normalize(pixels, preprocess, torch.float32)).softmax(-1))
    return torch.cat(rows)


def classes_of_labels(label_set: LabelSet) -> dict[str, set[str]]:
    """Return the ImageNet classes that imply a label or a label below it, by label id."""
    classes_of: dict[str, set[str]] = {}
    mapping = yaml.safe_load((HERE / "teacher_classes.yaml").read_text())["labels"]
    for label, classes in mapping.items():
        for id in [label, *label_set.ancestors(label)]:
            classes_of.setdefault(id, set()).update(classes)
    return classes_of


def soft_targets(
    probabilities: Tensor, imagenet: list[str], label_set: LabelSet
) -> tuple[list[str], Tensor]:
    """Return T texts and (N, T) targets: of the class names, and of the labels that they imply.

    A label's probability is the sum over its classes and over the classes of the labels below it.
    Probabilities below `FLOOR` count as 0, since a label with 200 classes would accumulate noise.
    """
    probabilities = torch.where(probabilities < FLOOR, 0.0, probabilities)
    columns: dict[str, Tensor] = {}
    for i, name in enumerate(imagenet):
        text = render(label_set.template, name.split(", ")[0])
        columns[text] = columns.get(text, 0.0) + probabilities[:, i]  # "crane" names two classes
    for id, classes in classes_of_labels(label_set).items():
        members = [imagenet.index(name) for name in sorted(classes)]
        prompt = label_set.prompts[label_set.index(id)]
        columns[prompt] = probabilities[:, members].sum(-1).clamp(max=1.0)
    return list(columns), torch.stack(list(columns.values()), dim=1)


def add_assumed_negatives(
    texts: list[str],
    targets: Tensor,
    rows: list[dict[str, str]],
    rooms: Collection[str],
    label_set: LabelSet,
) -> tuple[list[str], Tensor]:
    """Set targets to 0 where the source of a photo excludes a label, also against the teacher.

    Args:
        texts: T texts.
        targets: (N, T) targets of the texts.
        rows: the rows of `photos.csv`.
        rooms: names whose photos show no landscape.
        label_set: the labels.

    Returns:
        The texts with those of excluded labels appended, and the targets of all of them.
    """
    prompts = dict(zip(label_set.ids, label_set.prompts, strict=True))
    nature = [prompts[id] for id in label_set.ids if id in NATURE]
    indoors = [prompts[label.id] for label in label_set.labels if label.category in INDOORS]
    indoors.append(prompts["kitchen"])
    texts = [*texts, *(text for text in [*nature, *indoors] if text not in texts)]
    wider = torch.full((len(rows), len(texts)), UNKNOWN_TARGET)
    wider[:, : targets.shape[1]] = targets
    for i, row in enumerate(rows):
        absent = nature if row["positive"] in rooms else indoors if row["source"] == "miml" else []
        wider[i, [texts.index(text) for text in absent]] = 0.0
    return texts, wider


def main() -> None:
    """Write the manifests and the soft targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos.csv")
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--classes", type=Path, required=True, help="its class names, one a line")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--rooms", nargs="*", default=ROOMS, help="names whose photos show no landscape"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    label_set = load_label_set(args.labels)
    names = load_names(HERE / "names.yaml", label_set)
    with (args.photos / "photos.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    manifest = [manifest_row(row, args.photos, names) for row in rows]
    write_manifest(args.work / "manifest.csv", manifest)
    write_manifest(args.work / "unlabelled.csv", [without_labels(row) for row in manifest])
    files = [row["file"] for row in rows]
    imagenet = imagenet_names(args.classes)
    probabilities = teacher_probabilities(args.tower, [args.photos / file for file in files])
    texts, targets = soft_targets(probabilities, imagenet, label_set)
    texts, targets = add_assumed_negatives(texts, targets, rows, args.rooms, label_set)
    write_soft_targets(args.work / "soft_targets.safetensors", files, texts, targets)
    print(
        f"{len(files)} photos, {len(texts)} texts; mean of the largest {targets.amax(1).mean():.2f}"
    )


if __name__ == "__main__":
    main()
