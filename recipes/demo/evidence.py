"""Targets of the training: what people, the sources, a detector and the ImageNet network say.

Of two statements about a photo and a text, the first of these counts:

1. a human label;
2. the scene: a label is assumed to be absent in scenes where it is implausible (`classes.yaml`),
   and a class of the travel photos is absent in photos of other scenes;
3. the detector: a score of at least 0.5 is a soft positive, one below 0.1 a soft negative;
4. the ImageNet network, for labels that some of its classes imply (per view, in `finetune.py`);
5. nothing: the pair is unknown. Unknown pairs of labels with human positives are assumed to be
   absent with a small weight, unless a source says that the label is often there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from imagenet import class_prompts, classes_of_labels
from manifest import TRAVEL, all_names, read_rows, relations
from safetensors import safe_open
from torch import Tensor

from app.core.labels import LabelSet, render
from app.dataset.labelled import UNKNOWN_TARGET, LabelledPhotos, load_labelled_photos
from app.dataset.labelled.targets import TextColumns

HERE = Path(__file__).parent
Kind = tuple[str, str]  # source and class of a photo
MIXED = "mixed"  # scene of photos that may show anything
PRODUCT = "product"
PRODUCT_WEIGHT = 0.3  # of photos that show a thing on white
ASSUMED_WEIGHT, MACHINE_WEIGHT, UNJUDGED_WEIGHT = 0.5, 0.5, 0.1  # of pairs; a human label has 1
SEEN, UNSEEN = 0.5, 0.1  # detector scores
SEEN_TARGET, UNSEEN_TARGET, OTHER_CLASS_TARGET = 0.8, 0.02, 0.03
MIN_POSITIVES = 10  # human positives from which unknown pairs of a label are assumed absent


@dataclass(frozen=True, slots=True)
class Evidence:
    """The targets of N photos for T texts, and of the ImageNet network's classes.

    Attributes:
        texts: T texts; the first are the prompts of the labels.
        targets: (N, T) float16 presence in [0, 1]; -1 where unknown.
        weights: (N, T) float16 weights of the pairs with a target.
        unjudged: (N, T) whether an unknown pair is assumed to be absent with a small weight.
        of_class: (1000, T) whether an ImageNet class implies a text.
        taught: (T,) whether any class implies the text.
        imagenet: (T,) whether the text is the name of an ImageNet class only.
    """

    texts: tuple[str, ...]
    targets: Tensor
    weights: Tensor
    unjudged: Tensor
    of_class: Tensor
    taught: Tensor
    imagenet: Tensor


@dataclass(frozen=True, slots=True)
class Scenes:
    """The content of `classes.yaml`.

    Attributes:
        scene_of: (source, class) to scene; the class "" stands for the whole source.
        text_of: (source, class) to the text of the class.
        plausible: label id to the scenes in which it may be present.
    """

    scene_of: Mapping[tuple[str, str], str]
    text_of: Mapping[tuple[str, str], str]
    plausible: Mapping[str, frozenset[str]]

    def scene(self, source: str, name: str) -> str:
        """Return the scene of a photo of a class of a source."""
        return self.scene_of.get((source, name)) or self.scene_of[source, ""]

    def may_show(self, scene: str, label: str) -> bool:
        """Return whether a photo of a scene may show a label though it is not labelled."""
        return scene == MIXED or scene in self.plausible[label]


def read_scenes() -> Scenes:
    """Read `classes.yaml`."""
    content: dict[str, Any] = yaml.safe_load((HERE / "classes.yaml").read_text(encoding="utf-8"))
    entries = [
        (source, name, scene, text)
        for scene, sources in content["scenes"].items()
        for source, classes in sources.items()
        for name, text in classes.items()
    ]
    whole = {(source, ""): scene for source, scene in content["collections"].items()}
    return Scenes(
        scene_of=whole | {(source, name): scene for source, name, scene, _ in entries},
        text_of={(source, name): text for source, name, _, text in entries if text},
        plausible={label: frozenset(where) for label, where in content["plausible"].items()},
    )


def sources_and_classes(photos: Path) -> dict[str, tuple[str, str]]:
    """Return the source and the class of every photo, by file."""
    older = {
        row["file"]: (row["source"], row["positive"]) for row in read_rows(photos / "photos.csv")
    }
    travel = {
        f"{TRAVEL}/{row['file']}": (row["source"], row["class"])
        for row in read_rows(photos / TRAVEL / "photos.csv")
    }
    return older | travel


def read_detections(path: Path, files: Sequence[str]) -> Tensor:
    """Return the (N, 80) scores of `detect.py`, in the order of these files."""
    with safe_open(path, framework="pt") as file:
        position = {name: i for i, name in enumerate(json.loads(file.metadata()["files"]))}
        scores: Tensor = file.get_tensor("scores")
    return scores[[position[name] for name in files]]


def coco_labels() -> dict[str, str | None]:
    """Return the COCO classes in output order, each with the label that it implies, if any."""
    implied = yaml.safe_load((HERE / "coco_labels.yaml").read_text(encoding="utf-8"))
    names = (HERE / "coco_classes.txt").read_text(encoding="utf-8").splitlines()
    return {name: implied.get(name) for name in names}


def load_photos(
    manifest: Path, photos: Path, label_set: LabelSet, positive_weight: float = 2.0
) -> LabelledPhotos:
    """Load the human labels of all photos, for the texts of labels and names."""
    names = all_names(label_set)
    return load_labelled_photos(
        manifest, photos, label_set, names=names, positive_weight=positive_weight
    )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the texts.

    Attributes:
        texts: T texts.
        labels: label id to column; these columns come first.
        classes: (source, class) of the travel photos to column.
        coco: the 80 columns of the COCO classes.
        imagenet: the 1000 columns of the ImageNet classes.
        judged: number of texts before those of the ImageNet classes.
    """

    texts: tuple[str, ...]
    labels: Mapping[str, int]
    classes: Mapping[tuple[str, str], int]
    coco: list[int]
    imagenet: list[int]
    judged: int


def columns_of_texts(
    data: LabelledPhotos, label_set: LabelSet, scenes: Scenes, classes: Path
) -> Columns:
    """Assign a column to every text: of labels, names, travel classes, COCO and ImageNet."""
    columns = TextColumns(data.texts)
    template = label_set.template
    labels = {
        id: columns.add(prompt) for id, prompt in zip(label_set.ids, label_set.prompts, strict=True)
    }
    of_classes = {
        kind: columns.add(render(template, text)) for kind, text in scenes.text_of.items()
    }
    coco = [columns.add(render(template, name)) for name in coco_labels()]
    judged = len(columns.texts)
    imagenet = [columns.add(prompt) for prompt in class_prompts(classes, template)]
    return Columns(tuple(columns.texts), labels, of_classes, coco, imagenet, judged)


def assumed_targets(kind: Kind, scenes: Scenes, columns: Columns) -> Tensor:
    """Return the (T,) targets that follow from the class of a photo; -1 where none does."""
    targets = torch.full((len(columns.texts),), UNKNOWN_TARGET)
    scene = scenes.scene(*kind)
    for other, column in columns.classes.items():
        if scene == MIXED or column < len(columns.labels) or other == kind:
            continue
        if scenes.scene_of[other] != scene:
            targets[column] = 0.0
        elif other[0] == kind[0]:
            targets[column] = OTHER_CLASS_TARGET
    if columns.classes.get(kind, 0) >= len(columns.labels):
        targets[columns.classes[kind]] = 1.0
    for id, column in columns.labels.items():
        if not scenes.may_show(scene, id):
            targets[column] = 0.0
    for column, label in zip(columns.coco, coco_labels().values(), strict=True):
        if label and not scenes.may_show(scene, label):
            targets[column] = 0.0
    return targets


def detected_targets(scores: Tensor, columns: Columns) -> Tensor:
    """Return the (N, T) targets by the detector's scores (N, 80); -1 where it says nothing."""
    targets = torch.full((len(scores), len(columns.texts)), UNKNOWN_TARGET)
    targets[:, columns.coco] = _target_of_score(scores)
    members: dict[str, list[int]] = {}
    for i, label in enumerate(coco_labels().values()):
        if label:
            members.setdefault(label, []).append(i)
    for label, classes in members.items():
        target = _target_of_score(scores[:, classes].amax(dim=1))
        if label not in _WHOLLY_COVERED:
            target[target < SEEN_TARGET] = UNKNOWN_TARGET
        targets[:, columns.labels[label]] = target
    return targets


def gather_evidence(
    data: LabelledPhotos,
    label_set: LabelSet,
    photos: Path,
    classes: Path,
    detections: Path,
    leave_out: Sequence[str] = (),
) -> Evidence:
    """Collect the targets of all photos of the data.

    Args:
        data: photos with their human labels.
        label_set: the labels.
        photos: folder of the photo sets.
        classes: ImageNet's class names, one a line.
        detections: output of `detect.py`.
        leave_out: names whose positives are not used: neither for the name's own text nor, if it
            has a label, for the label and the classes of photos and of COCO that show it. The
            detector and the ImageNet network are not asked for any of these.
    """
    scenes = read_scenes()
    columns = columns_of_texts(data, label_set, scenes, classes)
    place = sources_and_classes(photos)
    kinds = [place[file] for file in data.files]
    of_kind = {kind: assumed_targets(kind, scenes, columns) for kind in dict.fromkeys(kinds)}
    assumed = torch.stack([of_kind[kind] for kind in kinds])
    machine = detected_targets(read_detections(detections, data.files), columns)
    human = torch.full_like(assumed, UNKNOWN_TARGET)
    human[:, : len(data.texts)] = data.targets
    relation = relations(photos)
    left_out = [_columns_of(name, label_set, data, relation, columns) for name in leave_out]
    hidden = sorted(set().union(*left_out))
    human[:, hidden] = machine[:, hidden] = UNKNOWN_TARGET
    assumed[:, hidden] = torch.where(assumed[:, hidden] == 0.0, 0.0, UNKNOWN_TARGET)

    targets, weights = torch.full_like(human, UNKNOWN_TARGET), torch.zeros_like(human)
    for said, weight in ((machine, MACHINE_WEIGHT), (assumed, ASSUMED_WEIGHT), (human, 1.0)):
        targets = torch.where(said >= 0, said, targets)
        weights = torch.where(said >= 0, weight, weights)
    products = torch.tensor([scenes.scene(*kind) == PRODUCT for kind in kinds])
    weights[products] *= PRODUCT_WEIGHT

    labels = slice(0, len(columns.labels))
    found = (human[data.indices("train"), labels] == 1).sum(dim=0) >= MIN_POSITIVES
    unjudged = torch.zeros(targets.shape, dtype=torch.bool)
    unjudged[:, labels] = (targets[:, labels] < 0) & found
    for row, column in _weak_pairs(photos, kinds, columns.labels):
        unjudged[row, column] = False
    of_class = torch.zeros(len(columns.imagenet), len(columns.texts))
    of_class[torch.arange(len(columns.imagenet)), torch.tensor(columns.imagenet)] = 1.0
    for label, members in classes_of_labels(label_set, classes).items():
        if columns.labels[label] not in hidden:
            of_class[members, columns.labels[label]] = 1.0
    return Evidence(
        texts=columns.texts,
        targets=targets.half(),
        weights=weights.half(),
        unjudged=unjudged,
        of_class=of_class,
        taught=of_class.any(dim=0),
        imagenet=torch.arange(len(columns.texts)) >= columns.judged,
    )


# Labels of which COCO has every common kind, so that a low score is a sign of absence.
_WHOLLY_COVERED = frozenset(
    (
        *("bicycle", "boat", "bus", "car", "motorcycle", "train", "airplane", "people"),
        *("bed", "chair", "dining_table", "sofa", "tv_multimedia", "toilet", "refrigerator"),
        *("microwave", "oven", "toaster", "hairdryer", "pets"),
    )
)


def _columns_of(
    name: str,
    label_set: LabelSet,
    data: LabelledPhotos,
    relation: Mapping[Kind, Mapping[str, str]],
    columns: Columns,
) -> set[int]:
    label = all_names(label_set)[name].label
    if label is None:
        return {data.classes[name]}
    of_photos = (
        column
        for kind, column in columns.classes.items()
        if relation.get(kind, {}).get(label) == "positive"
    )
    of_coco = (
        column
        for column, implied in zip(columns.coco, coco_labels().values(), strict=True)
        if implied == label
    )
    return {data.classes[name], label_set.index(label), *of_photos, *of_coco}


def _target_of_score(scores: Tensor) -> Tensor:
    target = torch.where(scores < UNSEEN, UNSEEN_TARGET, UNKNOWN_TARGET)
    return torch.where(scores >= SEEN, SEEN_TARGET, target)


def _weak_pairs(
    photos: Path, kinds: Sequence[tuple[str, str]], prompts: Mapping[str, int]
) -> Iterator[tuple[int, int]]:
    relation = relations(photos)
    for row, kind in enumerate(kinds):
        for label, how in relation.get(kind, {}).items():
            if how == "weak":
                yield row, prompts[label]
