"""Training of the ASL baseline, by the same loop as MuMIC's."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor, nn

from app.baselines.asl_classifier import AslClassifier, load_asl, write_asl
from app.baselines.asymmetric_loss import asymmetric_loss
from app.core.checkpoint import Checkpoint
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos
from app.training.config import TrainConfig
from app.training.objective import Costs, Objective, freeze, image_stage, keep_frozen_still
from app.training.run import (
    discard,
    fit,
    make_fabric,
    make_inputs,
    run_key,
    starting_model,
    writing_result,
)


@dataclass(frozen=True, slots=True)
class AslSettings:
    """The asymmetric loss's own settings; the defaults are its authors'."""

    gamma_negative: float = 4.0
    gamma_positive: float = 0.0
    clip: float = 0.05


class AsymmetricLoss(Objective):
    """A linear head over the image tower; human labels of the data's classes alone.

    Args:
        model: the towers, on their device; the text tower has no part in it.
        data: photos and targets.
        config: what is frozen and how the tower runs.
        settings: of the loss.
    """

    def __init__(
        self, model: MumicModel, data: LabelledPhotos, config: TrainConfig, settings: AslSettings
    ) -> None:
        super().__init__()
        freeze(model, config)
        self._keep_frozen_still = partial(keep_frozen_still, model, config)
        self._settings = settings
        self._targets = data.targets[:, list(data.classes.values())].to(model.device)
        dimension = model.encode_text(model.tokenize(["a"]).to(model.device)).shape[1]
        torch.manual_seed(config.seed)
        self.visual: nn.Module = model.clip.visual
        self.head = nn.Linear(dimension, len(data.classes)).to(model.device)
        self._tower, self._encode = image_stage(model, config)

    @property
    def weights(self) -> nn.Module:
        """The image tower and the head."""
        return nn.ModuleDict({"visual": self.visual, "head": self.head})

    def train(self, mode: bool = True) -> Self:
        """A frozen tower stays in evaluation mode."""
        super().train(mode)
        self._keep_frozen_still()
        return self

    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Costs]:
        """The asymmetric loss over the known pairs."""
        features = self._encode(inputs).float()
        with torch.autocast(features.device.type, enabled=False):
            cost = asymmetric_loss(
                self.head(features),
                self._targets[indices],
                gamma_negative=self._settings.gamma_negative,
                gamma_positive=self._settings.gamma_positive,
                clip=self._settings.clip,
                known_pairs=(self._targets[step] >= 0).sum(),
            )
        return cost, {"loss": cost.detach()}

    @torch.no_grad()
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Logits."""
        self.eval()
        return torch.cat([self.head(self._tower(batch)).cpu() for batch in inputs])


def train_asl(
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    out: Path,
    *,
    progress: Progress,
    settings: AslSettings = AslSettings(),
    fabric: Fabric | None = None,
    feature_cache: Path | None = None,
    pixels: Tensor | None = None,
) -> AslClassifier:
    """Train a linear head over the image tower, and the tower, on the asymmetric loss.

    Args:
        init: whose image tower is the start.
        data: photos and human labels; the classes are `data.classes`.
        config: the settings of the loop.
        out: the directory to write; the run's state and logs are in `OUT.run` beside it.
        progress: where the time left is shown.
        settings: the loss's own.
        fabric: launched devices; one CPU by default.
        feature_cache: with `freeze_image`, where the features are kept from run to run.
        pixels: (N, 3, S, S) uint8, the photos where they are decoded already.

    Returns:
        The classifier as `load_asl` reads it; its card holds the settings, and the average
        precisions on the part validation.

    Raises:
        OptionError, DataError, DiskError: as `app.training.run.loop.train`.
        CheckpointError: something else is at `out`.
    """
    fabric = fabric or make_fabric(torch.device("cpu"), config.precision)
    run_folder = out.with_name(f"{out.name}.run")
    model = starting_model(init, config, fabric.device)
    cache = feature_cache or run_folder / "features.safetensors"
    inputs = make_inputs(
        model, init, data, config, cache, progress=progress, fabric=fabric, pixels=pixels
    )
    objective = AsymmetricLoss(model, data, config, settings)
    key = run_key(init, data, config, {"objective": "asymmetric loss", **asdict(settings)})
    history, best = fit(
        objective, inputs, data, config, run_folder, key, progress=progress, fabric=fabric
    )
    if fabric.is_global_zero:
        measured = next(row for row in history if row["step"] == best.step)
        with writing_result():
            write_asl(
                out,
                objective.visual,
                objective.head,
                init.config,
                names=list(data.classes),
                exif_orientation=init.preprocess.exif_orientation,
                training={
                    "init": {"name": init.card.name, "version": init.card.version},
                    "photos": len(data.indices("train")),
                    "settings": asdict(config) | asdict(settings),
                    "best_step": best.step,
                },
                metrics={"validation": measured},
            )
        discard(run_folder)
    fabric.barrier()
    return load_asl(out, fabric.device)
