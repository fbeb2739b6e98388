"""Training of the ASL baseline, with the same loop as MuMIC."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor, nn

from app.baselines.asl.asymmetric_loss import asymmetric_loss
from app.baselines.asl.classifier import AslClassifier, load_asl, write_asl
from app.core.checkpoint import Checkpoint
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos
from app.training.config import TrainConfig
from app.training.objective import (
    Losses,
    Objective,
    freeze_parameters,
    image_encoders,
    set_frozen_to_eval,
)
from app.training.run import (
    create_fabric,
    create_inputs,
    delete_state,
    initial_model,
    result_disk_errors,
    run_fingerprint,
    run_loop,
)


@dataclass(frozen=True, slots=True)
class AslSettings:
    """Settings of the asymmetric loss; the defaults are its authors'."""

    gamma_negative: float = 4.0
    gamma_positive: float = 0.0
    clip: float = 0.05


class AsymmetricLoss(Objective):
    """A linear head on the image tower, trained on the human labels of the data's classes.

    Args:
        model: the towers, on their device; the text tower is not used.
        data: photos and targets.
        config: frozen parameters and compilation.
        settings: of the loss.
    """

    def __init__(
        self, model: MumicModel, data: LabelledPhotos, config: TrainConfig, settings: AslSettings
    ) -> None:
        super().__init__()
        freeze_parameters(model, config)
        # A partial: as an attribute, the model itself would be registered and trained.
        self._set_frozen_to_eval = partial(set_frozen_to_eval, model, config)
        self._settings = settings
        self._targets = data.targets[:, list(data.classes.values())].to(model.device)
        dimension = model.encode_text(model.tokenize(["a"]).to(model.device)).shape[1]
        torch.manual_seed(config.seed)
        self.visual: nn.Module = model.clip.visual
        self.head = nn.Linear(dimension, len(data.classes)).to(model.device)
        self._encode_eval, self._encode_train = image_encoders(model, config)

    @property
    def weights(self) -> nn.Module:
        """The image tower and the head."""
        return nn.ModuleDict({"visual": self.visual, "head": self.head})

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen tower stays in evaluation mode."""
        super().train(mode)
        self._set_frozen_to_eval()
        return self

    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Losses]:
        """The asymmetric loss over the known pairs."""
        features = self._encode_train(inputs).float()
        with torch.autocast(features.device.type, enabled=False):
            loss = asymmetric_loss(
                self.head(features),
                self._targets[indices],
                gamma_negative=self._settings.gamma_negative,
                gamma_positive=self._settings.gamma_positive,
                clip=self._settings.clip,
                known_pairs=(self._targets[step] >= 0).sum(),
            )
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Logits of the classes."""
        self.eval()
        return torch.cat([self.head(self._encode_eval(batch)).cpu() for batch in inputs])

    @torch.no_grad()
    def loss_of_scores(self, scores: Tensor, indices: Tensor) -> float:
        """The asymmetric loss over the known pairs."""
        targets = self._targets.cpu()[indices]
        return asymmetric_loss(
            scores,
            targets,
            gamma_negative=self._settings.gamma_negative,
            gamma_positive=self._settings.gamma_positive,
            clip=self._settings.clip,
        ).item()


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
    """Train the image tower and a linear head on it on the asymmetric loss.

    Args:
        init: its image tower is the initial one.
        data: photos and human labels; the classes are `data.classes`.
        config: the settings of the loop.
        out: the directory to write; the run's state and logs are in `OUT.run` next to it.
        progress: shows the time left.
        settings: of the loss.
        fabric: launched devices; one CPU by default.
        feature_cache: with `freeze_image`, a file of features that several runs share.
        pixels: (N, 3, S, S) uint8, the decoded photos, if they are in memory.

    Returns:
        The classifier as `load_asl` reads it; its card holds the settings, and the average
        precisions on the validation split.

    Raises:
        OptionError, DataError, DiskError: as `app.training.run.train`.
        CheckpointError: `out` holds other files.
    """
    fabric = fabric or create_fabric(torch.device("cpu"), config.precision)
    run_folder = out.with_name(f"{out.name}.run")
    model = initial_model(init, config, fabric.device)
    cache = feature_cache or run_folder / "features.safetensors"
    inputs = create_inputs(
        model, init, data, config, cache, progress=progress, fabric=fabric, pixels=pixels
    )
    objective = AsymmetricLoss(model, data, config, settings)
    fingerprint = run_fingerprint(
        init, data, config, {"objective": "asymmetric loss", **asdict(settings)}
    )
    history, best, _ = run_loop(
        objective, inputs, data, config, run_folder, fingerprint, progress=progress, fabric=fabric
    )
    if fabric.is_global_zero:
        measured = next(row for row in history if row["step"] == best.step)
        with result_disk_errors():
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
        delete_state(run_folder)
    fabric.barrier()
    return load_asl(out, fabric.device)
