"""Training of the ASL baseline, by the same loop as MuMIC's."""

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from rich.progress import Progress

from app.baselines.asl import AslClassifier
from app.core.checkpoint import Checkpoint
from app.dataset.labelled import LabelledPhotos
from app.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class AslSettings:
    """The asymmetric loss's own settings; the defaults are its authors'."""

    gamma_negative: float = 4.0
    gamma_positive: float = 0.0
    clip: float = 0.05


def train_asl(
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    out: Path,
    *,
    progress: Progress,
    settings: AslSettings = AslSettings(),
    fabric: Fabric | None = None,
) -> AslClassifier:
    """Train a linear head over the image tower, and the tower, on the asymmetric loss.

    Args:
        init: whose image tower is the start.
        data: photos and human labels; the classes are `data.classes`.
        config: the settings of the loop.
        out: the directory to write; the run's state is in `OUT.run` beside it.
        progress: where the time left is shown.
        settings: the loss's own.
        fabric: the devices; one CPU by default.

    Returns:
        The classifier as `load_asl` reads it.
    """
    raise NotImplementedError
