"""Who is compared: names for checkpoint directories and how each of them is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from rich.progress import Progress
from torch import Tensor

from app.baselines.asl_classifier import CARD_FILE as ASL_CARD_FILE
from app.baselines.asl_classifier import load_asl
from app.baselines.clip_scores import checkpoint_scores
from app.baselines.comparison import Scored
from app.core.checkpoint import read_checkpoint
from app.core.classifier import Classifier
from app.core.labels import LabelSet
from app.core.model import Scoring
from app.core.runtime import choose_placement
from app.dataset.labelled import LabelledPhotos
from app.dataset.manifest import Name, Part
from app.errors import DataError, OptionError
from app.evaluation.metrics import ScoredClass, texts_of

SCORINGS: tuple[Scoring, ...] = get_args(Scoring)


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A column of the tables.

    Attributes:
        name: its heading.
        directory: a MuMIC checkpoint, or a classifier trained with the asymmetric loss.
        scoring: how a MuMIC checkpoint is scored.
    """

    name: str
    directory: Path
    scoring: Scoring = "sigmoid"

    @property
    def is_asl(self) -> bool:
        """Whether the directory holds an ASL classifier."""
        return (self.directory / ASL_CARD_FILE).is_file()


def parse_compared_models(texts: Sequence[str]) -> list[ComparedModel]:
    """Read `NAME=DIR` or `NAME=DIR:SCORING`.

    Raises:
        OptionError: a text is none of them, a name comes twice, or a directory is not there.
    """
    found: dict[str, ComparedModel] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise OptionError("contestant", f"{text!r} is not NAME=DIR or NAME=DIR:SCORING")
        if name in found:
            raise OptionError("contestant", f"the name {name!r} comes twice")
        directory, _, last = rest.rpartition(":")
        scoring = next((scoring for scoring in SCORINGS if directory and scoring == last), None)
        path = Path(directory if scoring else rest)
        if not path.is_dir():
            known = f"; a scoring is one of {', '.join(SCORINGS)}" if ":" in rest else ""
            raise OptionError("contestant", f"{text!r}: no directory {path}{known}")
        found[name] = ComparedModel(name, path, scoring or "sigmoid")
    return list(found.values())


def judging_labels(contestants: Sequence[ComparedModel]) -> LabelSet:
    """The label set that says what a manifest's names mean: the first MuMIC checkpoint's.

    Raises:
        OptionError: no contestant has one.
        CheckpointError: the first that has one is not what it says.
    """
    for contestant in contestants:
        if not contestant.is_asl:
            return read_checkpoint(contestant.directory).labels
    raise OptionError("contestant", "one of them must be a MuMIC checkpoint: it has the label set")


def score_compared_models(
    contestants: Sequence[ComparedModel],
    data: LabelledPhotos,
    part: Part,
    classes: Sequence[ScoredClass],
    *,
    names: Mapping[str, Name] | None = None,
    device: str = "auto",
    workers: int = 0,
    progress: Progress,
) -> Scored:
    """Score a part of the photos with every contestant.

    A directory that is scored in several ways is read once.

    Args:
        contestants: whose directories hold a MuMIC checkpoint or an ASL classifier.
        data: the photos.
        part: which of them.
        classes: what is scored; every contestant must know them.
        names: what the classes mean, where they are not label ids.
        device: auto, cpu, cuda or cuda:N.
        workers: processes that load photos.
        progress: where the time left is shown.

    Raises:
        CheckpointError: a directory is not what it says.
        OptionError: a contestant does not know a class.
        DataError: a photo cannot be used, or the part is empty.
    """
    indices = data.indices(part)
    if not len(indices):
        raise DataError(f"no photo in the part {part}: see the manifest's column part")
    paths = [data.photos / data.files[i] for i in indices]
    placement = choose_placement(device, "fp32", transformer=False).device
    scores: dict[str, Tensor] = {}
    for directory in dict.fromkeys(contestant.directory for contestant in contestants):
        same = [contestant for contestant in contestants if contestant.directory == directory]
        if same[0].is_asl:
            scores |= _asl_scores(same, paths, [each.key for each in classes], placement, workers)
            continue
        classifier = Classifier.load(directory, device=device, precision="fp32")
        methods = {contestant.scoring for contestant in same}
        texts = texts_of(classes, classifier.labels, names, "names")
        found = checkpoint_scores(
            classifier, texts, paths, methods, progress=progress, workers=workers
        )
        scores |= {contestant.name: found[contestant.scoring] for contestant in same}
    return Scored(
        classes=classes,
        targets=data.targets[indices][:, [each.column for each in classes]].numpy(),
        scores={each.name: scores[each.name].numpy() for each in contestants},
    )


def _asl_scores(
    contestants: Sequence[ComparedModel],
    paths: Sequence[Path],
    classes: Sequence[str],
    device: torch.device,
    workers: int,
) -> dict[str, Tensor]:
    if bad := next((each for each in contestants if each.scoring != "sigmoid"), None):
        raise OptionError("contestant", f"{bad.name}: an ASL classifier has no texts to pair")
    classifier = load_asl(contestants[0].directory, device)
    if missing := [key for key in classes if key not in classifier.names]:
        raise OptionError(
            "contestant", f"{contestants[0].name}: it was not trained on {', '.join(missing)}"
        )
    columns = [classifier.names.index(key) for key in classes]
    found = classifier.score(paths, workers=workers)[:, columns]
    return {contestant.name: found for contestant in contestants}
