"""An ASL classifier's directory: an image tower and a linear head, scored without any text.

It holds the image tower's configuration, `asl.safetensors` with the weights `visual.*` and
`head.*`, and `asl.json` with the class names, how it was trained, and the sha256 of the other two.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CustomTextCLIP
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.core.checkpoint import CONFIG_FILE, file_hash
from app.core.files import staging_directory
from app.core.images import Preprocess, normalize
from app.dataset.photos import pixel_batches
from app.errors import CheckpointError

CARD_FILE = "asl.json"
WEIGHTS_FILE = "asl.safetensors"


class AslCard(BaseModel):
    """What an ASL directory says of itself.

    Attributes:
        names: the C classes, in the order of the head's rows.
        exif_orientation: whether photos are turned upright first.
        sha256: of the weights and of the configuration.
        training: how it was made, free-form.
        metrics: what it reached, free-form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    exif_orientation: bool
    sha256: dict[str, str]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class AslClassifier:
    """An image tower and a linear head over C classes.

    Attributes:
        names: the C classes.
        visual: the image tower, in evaluation mode.
        head: from its D features to C logits.
        preprocess: how photos become its input.
        card: what the directory says of itself.
    """

    names: tuple[str, ...]
    visual: nn.Module
    head: nn.Linear
    preprocess: Preprocess
    card: AslCard

    @torch.inference_mode()
    def score(self, paths: Sequence[Path], *, workers: int = 0) -> Tensor:
        """Probability of each class on each photo.

        Args:
            paths: n files, at least one.
            workers: processes that load them.

        Returns:
            (n, C) float32 in [0, 1], on the CPU, columns in the order of `names`.

        Raises:
            DataError: a photo cannot be used.
        """
        device = self.head.weight.device
        rows = []
        for pixels in pixel_batches(paths, self.preprocess, workers=workers):
            images = normalize(pixels.to(device), self.preprocess, torch.float32)
            rows.append(torch.sigmoid(self.head(self.visual(images))).cpu())
        return torch.cat(rows)


def load_asl(directory: Path, device: torch.device | str = "cpu") -> AslClassifier:
    """Read and verify an ASL directory.

    Args:
        directory: as `write_asl` makes it.
        device: where it will score.

    Raises:
        CheckpointError: a file is missing, altered, or not what it should be.
    """
    try:
        card = AslCard.model_validate_json((directory / CARD_FILE).read_bytes())
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            if card.sha256.get(name) != file_hash(directory / name):
                raise CheckpointError(f"{directory / name}: its sha256 is not that in {CARD_FILE}")
        weights = load_file(directory / WEIGHTS_FILE)
        config = json.loads((directory / CONFIG_FILE).read_bytes())
    except (OSError, ValidationError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{directory}: not an ASL classifier: {error}") from error
    visual = _random_tower(config["model_cfg"])
    classes, features = weights["head.weight"].shape
    head = nn.Linear(features, classes)
    nn.ModuleDict({"visual": visual, "head": head}).load_state_dict(weights)
    return AslClassifier(
        names=card.names,
        visual=visual.eval().to(device),
        head=head.eval().to(device),
        preprocess=Preprocess.from_config(config["preprocess_cfg"], card.exif_orientation),
        card=card,
    )


def _random_tower(model_cfg: Mapping[str, Any]) -> nn.Module:
    """An image tower as the configuration has it, by way of a whole model."""
    vision_cfg = {**model_cfg["vision_cfg"], "timm_model_pretrained": False}
    known = {"embed_dim", "text_cfg", "quick_gelu"} & model_cfg.keys()
    rest = {name: model_cfg[name] for name in known}
    visual: nn.Module = CustomTextCLIP(vision_cfg=vision_cfg, **rest).visual
    return visual


def write_asl(
    directory: Path,
    visual: nn.Module,
    head: nn.Linear,
    config: Mapping[str, Any],
    *,
    names: Sequence[str],
    exif_orientation: bool,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> None:
    """Write a whole ASL directory, or nothing.

    Args:
        directory: where it goes; an ASL classifier that is there is replaced.
        visual: the image tower.
        head: from its D features to C logits.
        config: open_clip's `model_cfg` and `preprocess_cfg`.
        names: the C classes.
        exif_orientation: whether photos are turned upright first.
        training: how it was made.
        metrics: what it reached.

    Raises:
        CheckpointError: something else is there.
        DiskError: it cannot be written; what was there before is whole.
    """
    with staging_directory(directory, CARD_FILE) as draft:
        state = nn.ModuleDict({"visual": visual, "head": head}).state_dict()
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in state.items()},
            draft / WEIGHTS_FILE,
            metadata={"format": "pt"},
        )
        (draft / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        card = AslCard(
            names=tuple(names),
            exif_orientation=exif_orientation,
            sha256={name: file_hash(draft / name) for name in (WEIGHTS_FILE, CONFIG_FILE)},
            training=dict(training),
            metrics=dict(metrics),
        )
        (draft / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
