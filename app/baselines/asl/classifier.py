"""An ASL classifier and its directory: an image tower and a linear head, without a text tower.

The directory holds the image tower's configuration, `asl.safetensors` with the weights `visual.*`
and `head.*`, and `asl.json` with the class names, the settings of the training run, and the sha256
of the other two files.
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
    """The contents of `asl.json`.

    Attributes:
        names: the C classes, in the order of the head's rows.
        exif_orientation: whether photos are rotated by their EXIF orientation.
        sha256: of the weights and of the configuration.
        training: the settings of the training run, free-form.
        metrics: on the validation split, free-form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    exif_orientation: bool
    sha256: dict[str, str]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class AslClassifier:
    """An image tower and a linear head for C classes.

    Attributes:
        names: the C classes.
        visual: the image tower, in evaluation mode.
        head: maps its D features to C logits.
        preprocess: of photos to its input.
        card: the contents of `asl.json`.
    """

    names: tuple[str, ...]
    visual: nn.Module
    head: nn.Linear
    preprocess: Preprocess
    card: AslCard

    @torch.inference_mode()
    def score(self, paths: Sequence[Path], *, workers: int = 0) -> Tensor:
        """Logit of each class on each photo; its sigmoid is the probability.

        Args:
            paths: n files, at least one.
            workers: processes that load photos.

        Returns:
            (n, C) float32, on the CPU, columns in the order of `names`.

        Raises:
            DataError: a photo cannot be used.
        """
        device = self.head.weight.device
        rows = []
        for pixels in pixel_batches(paths, self.preprocess, workers=workers):
            images = normalize(pixels.to(device), self.preprocess, torch.float32)
            rows.append(self.head(self.visual(images)).cpu())
        return torch.cat(rows)


def load_asl(directory: Path, device: torch.device | str = "cpu") -> AslClassifier:
    """Read and verify an ASL directory.

    Args:
        directory: as `write_asl` writes it.
        device: the device of the classifier.

    Raises:
        CheckpointError: a file is missing, altered or not valid.
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
    """An image tower with random weights; open_clip builds it as part of a whole model."""
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
    """Write an ASL directory atomically.

    Args:
        directory: the directory to write; an existing ASL classifier is replaced.
        visual: the image tower.
        head: maps its D features to C logits.
        config: open_clip's `model_cfg` and `preprocess_cfg`.
        names: the C classes.
        exif_orientation: whether photos are rotated by their EXIF orientation.
        training: the settings of the training run.
        metrics: on the validation split.

    Raises:
        CheckpointError: the directory holds other files.
        DiskError: it cannot be written; the previous contents are intact.
    """
    with staging_directory(directory, CARD_FILE) as staging:
        state = nn.ModuleDict({"visual": visual, "head": head}).state_dict()
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in state.items()},
            staging / WEIGHTS_FILE,
            metadata={"format": "pt"},
        )
        (staging / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        card = AslCard(
            names=tuple(names),
            exif_orientation=exif_orientation,
            sha256={name: file_hash(staging / name) for name in (WEIGHTS_FILE, CONFIG_FILE)},
            training=dict(training),
            metrics=dict(metrics),
        )
        (staging / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
