"""The models of a comparison: checkpoint directories with a name and a scoring method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from rich.progress import Progress
from torch import Tensor

from app.baselines.asl import CARD_FILE as ASL_CARD_FILE
from app.baselines.asl import load_asl
from app.baselines.comparison.clip_scores import checkpoint_scores
from app.baselines.comparison.comparison import Scored
from app.core.checkpoint import read_checkpoint
from app.core.classifier import Classifier
from app.core.labels import LabelSet
from app.core.model import Scoring
from app.core.runtime import choose_placement
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import NameDefinition, Split
from app.errors import DataError, OptionError
from app.evaluation.metrics import ScoredClass, class_texts

SCORINGS: tuple[Scoring, ...] = get_args(Scoring)


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A column of the tables.

    Attributes:
        name: the heading of the column.
        directory: of a MuMIC checkpoint, or of an ASL classifier.
        scoring: the scoring method of a MuMIC checkpoint.
    """

    name: str
    directory: Path
    scoring: Scoring = "sigmoid"

    @property
    def is_asl(self) -> bool:
        """Whether the directory holds an ASL classifier."""
        return (self.directory / ASL_CARD_FILE).is_file()


def parse_compared_models(texts: Sequence[str]) -> list[ComparedModel]:
    """Parse `NAME=DIR` or `NAME=DIR:SCORING`.

    Raises:
        OptionError: a text has another form, a name is used twice, or a directory is missing.
    """
    found: dict[str, ComparedModel] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise OptionError("model", f"{text!r} is not NAME=DIR or NAME=DIR:SCORING")
        if name in found:
            raise OptionError("model", f"the name {name!r} is used twice")
        directory, _, last = rest.rpartition(":")
        scoring = next((scoring for scoring in SCORINGS if directory and scoring == last), None)
        path = Path(directory if scoring else rest)
        if not path.is_dir():
            known = f"; a scoring is one of {', '.join(SCORINGS)}" if ":" in rest else ""
            raise OptionError("model", f"{text!r}: no directory {path}{known}")
        found[name] = ComparedModel(name, path, scoring or "sigmoid")
    return list(found.values())


def label_set_of(models: Sequence[ComparedModel]) -> LabelSet:
    """The label set that defines a manifest's names: that of the first MuMIC checkpoint.

    Raises:
        OptionError: no model is a MuMIC checkpoint.
        CheckpointError: the first MuMIC checkpoint is damaged.
    """
    for model in models:
        if not model.is_asl:
            return read_checkpoint(model.directory).labels
    raise OptionError("model", "one of them must be a MuMIC checkpoint: it has the label set")


def score_compared_models(
    models: Sequence[ComparedModel],
    data: LabelledPhotos,
    split: Split,
    classes: Sequence[ScoredClass],
    *,
    names: Mapping[str, NameDefinition] | None = None,
    device: str = "auto",
    workers: int = 0,
    progress: Progress,
) -> Scored:
    """Score the photos of a split with every model.

    A directory that is scored by several methods is read once.

    Args:
        models: directories that hold a MuMIC checkpoint or an ASL classifier.
        data: the photos.
        split: the photos to score.
        classes: the scored classes; an ASL classifier must have been trained on all of them.
        names: definitions of the classes that are not label ids.
        device: auto, cpu, cuda or cuda:N.
        workers: processes that load photos.
        progress: shows the time left.

    Raises:
        CheckpointError: a directory is damaged.
        OptionError: a model does not have a class.
        DataError: a photo cannot be used, or the split is empty.
    """
    indices = data.indices(split)
    if not len(indices):
        raise DataError(f"no photo in the split {split}: see the manifest's column part")
    paths = [data.photos / data.files[i] for i in indices]
    placement = choose_placement(device, "fp32", transformer=False).device
    scores: dict[str, Tensor] = {}
    for directory in dict.fromkeys(model.directory for model in models):
        same = [model for model in models if model.directory == directory]
        if same[0].is_asl:
            scores |= _asl_scores(same, paths, [each.key for each in classes], placement, workers)
            continue
        classifier = Classifier.load(directory, device=device, precision="fp32")
        methods = {model.scoring for model in same}
        texts = class_texts(classes, classifier.labels, names, "names")
        found = checkpoint_scores(
            classifier, texts, paths, methods, progress=progress, workers=workers
        )
        scores |= {model.name: found[model.scoring] for model in same}
    return Scored(
        classes=classes,
        targets=data.targets[indices][:, [each.column for each in classes]].numpy(),
        logits={model.name: scores[model.name].numpy() for model in models},
    )


def _asl_scores(
    models: Sequence[ComparedModel],
    paths: Sequence[Path],
    classes: Sequence[str],
    device: torch.device,
    workers: int,
) -> dict[str, Tensor]:
    if bad := next((each for each in models if each.scoring != "sigmoid"), None):
        raise OptionError("model", f"{bad.name}: an ASL classifier has no texts to pair")
    classifier = load_asl(models[0].directory, device)
    if missing := [key for key in classes if key not in classifier.names]:
        raise OptionError("model", f"{models[0].name}: it was not trained on {', '.join(missing)}")
    columns = [classifier.names.index(key) for key in classes]
    found = classifier.score(paths, workers=workers)[:, columns]
    return {model.name: found for model in models}
