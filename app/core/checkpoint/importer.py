"""Import of an open_clip architecture or of another checkpoint as a checkpoint directory."""

import logging
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import open_clip
import torch

from app.core.checkpoint.card import CARD_FILE
from app.core.checkpoint.class_embeddings_file import read_class_embeddings, save_class_embeddings
from app.core.checkpoint.directory import (
    load_model,
    read_checkpoint,
    refuse_hub_text_tower,
    refuse_not_finite,
    sign,
    write_checkpoint,
)
from app.core.checkpoint.golden import check_golden
from app.core.checkpoint.layout import (
    CLASS_EMBEDDINGS_FILE,
    CONFIG_FILE,
    KNOWN_PHOTOS_FILE,
    LABELS_FILE,
    README_FILE,
    WEIGHTS_FILE,
    ZERO_SHOT_FILE,
    towers_key,
)
from app.core.files import nearest_names, staging_directory
from app.core.labels import LabelSet, dump_label_set
from app.core.model import MumicModel
from app.errors import CheckpointError, OptionError

# OpenAI's archives contain three integers among the weights.
TORCHSCRIPT_ADVICE = (
    "is a TorchScript archive, which contains code. If you trust it, convert it once with: "
    'python -c "import torch; '
    "state = torch.jit.load('{path}', map_location='cpu').state_dict(); "
    "torch.save({{k: v for k, v in state.items() if k not in "
    "('input_resolution', 'context_length', 'vocab_size')}}, 'state_dict.pt')\""
)
COPIED_FILES = {WEIGHTS_FILE, CONFIG_FILE, ZERO_SHOT_FILE, KNOWN_PHOTOS_FILE}
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")

log = logging.getLogger("mumic.checkpoint")


def import_checkpoint(
    architecture: str,
    directory: Path,
    labels: LabelSet,
    *,
    name: str,
    version: str,
    pretrained: str | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> None:
    """Write a checkpoint of an open_clip architecture.

    Args:
        architecture: open_clip's name, e.g. `ViT-B-32-quickgelu`.
        directory: the target directory.
        labels: the label set.
        name: the checkpoint's name.
        version: the checkpoint's version.
        pretrained: open_clip's tag of weights to download, e.g. `laion2b_s34b_b79k`.
        weights: a local .safetensors or state-dict .pt file to use instead. With neither, the
            weights are random.
        seed: of random weights.

    Raises:
        OptionError: the architecture or tag is unknown.
        CheckpointError: the weights cannot be downloaded, cannot be loaded safely, are not finite
            or do not fit the architecture.
    """
    config = _config(architecture, pretrained)
    refuse_hub_text_tower(config["model_cfg"])
    if weights is not None:
        _refuse_unsafe(weights)
    if pretrained:
        _download(architecture, pretrained)
    torch.manual_seed(seed)
    try:
        clip = open_clip.create_model(
            architecture,
            pretrained=str(weights.resolve()) if weights else pretrained,
            require_pretrained=bool(weights or pretrained),
            force_quick_gelu=bool(config["model_cfg"].get("quick_gelu")),
            weights_only=True,
        )
        tokenizer = open_clip.get_tokenizer(architecture)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{weights}: contains other objects than tensors, which could run code when loaded. "
            "Save only its state_dict, preferably as .safetensors"
        ) from error
    except Exception as error:  # open_clip documents no errors
        source = weights or pretrained or "random weights"
        raise CheckpointError(f"{source} cannot be loaded as {architecture}: {error}") from error
    refuse_not_finite(str(weights or pretrained), clip.state_dict())
    origin = _origin(pretrained, weights)
    write_checkpoint(
        directory,
        MumicModel(clip.eval(), tokenizer),
        config,
        labels,
        name=name,
        version=version,
        readme=_readme(name, f"open_clip architecture `{architecture}`, weights: {origin}"),
        training={"architecture": architecture, "weights": origin},
        dtype=torch.float32,
    )


def import_from_checkpoint(
    source: Path, directory: Path, labels: LabelSet, *, name: str, version: str
) -> None:
    """Write a checkpoint that has the weights of another one and its own label set.

    Weights, configuration, the calibration of zero-shot scores, the known photos and the class
    embeddings of labels that the label set says were fitted to examples are copied. Metrics,
    thresholds and the model card of the source are of its labels and are left out.

    Args:
        source: the checkpoint directory to start from; its labels.yaml is not used.
        directory: the target directory, not the source.
        labels: the label set.
        name: the new checkpoint's name.
        version: the new checkpoint's version.

    Raises:
        CheckpointError: the source is not an intact checkpoint, or the target is the source or not
            a checkpoint.
        TextError: a label's prompt is longer than the tokenizer's context.
        DiskError: the target cannot be written.
    """
    if directory.resolve() == source.resolve():
        raise CheckpointError(
            f"{directory}: is the checkpoint to start from; write to another directory"
        )
    checkpoint = read_checkpoint(source, labels)
    card = checkpoint.card
    check_golden(load_model(checkpoint), checkpoint.preprocess, card.golden)
    origin = f"checkpoint {card.name} {card.version}"
    with staging_directory(directory, CARD_FILE) as staging:
        for file in COPIED_FILES & card.sha256.keys():
            shutil.copyfile(source / file, staging / file)
        dump_label_set(labels, staging / LABELS_FILE)
        own = read_class_embeddings(source / CLASS_EMBEDDINGS_FILE, checkpoint.dimension)
        rows = {id: own[id] for id in labels.fitted_ids if id in own}
        save_class_embeddings(rows, staging / CLASS_EMBEDDINGS_FILE, towers_key(card.sha256))
        if lost := sorted(own.keys() - rows.keys()):
            log.warning(
                "%s: the class embeddings of %s are not used, since the label set does not say "
                "that these labels were fitted to examples",
                directory,
                ", ".join(lost),
            )
        readme = _readme(name, f"The weights of {origin}, with another label set")
        (staging / README_FILE).write_text(readme, encoding="utf-8")
        sign(
            staging,
            name=name,
            version=version,
            exif_orientation=card.exif_orientation,
            training={"weights": origin},
        )


def _config(architecture: str, pretrained: str | None) -> dict[str, Any]:
    """Return open_clip's configuration, with `squash` instead of CLIP's center crop."""
    known = open_clip.list_models()
    if architecture not in known:  # get_model_config would contact a hub for some names
        if architecture and Path(architecture).is_dir():
            raise OptionError(
                "architecture",
                f"{architecture} is a directory, whose weights are used; leave out --pretrained, "
                "--weights and --random",
            )
        close = nearest_names(architecture, known)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise OptionError(
            "architecture",
            f"open_clip has no {architecture!r}, and it is not a checkpoint directory{hint}",
        )
    tag = open_clip.get_pretrained_cfg(architecture, pretrained) if pretrained else {}
    if pretrained and not tag:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise OptionError(
            "pretrained",
            f"no {pretrained!r} for {architecture}; known: {', '.join(tags) or 'none'}",
        )
    model_cfg = open_clip.get_model_config(architecture)
    if tag.get("quick_gelu"):
        model_cfg["quick_gelu"] = True
    image_size = model_cfg["vision_cfg"].get("image_size", 224)
    return {
        "model_cfg": model_cfg,
        "preprocess_cfg": {
            "size": image_size,
            "mode": "RGB",
            "mean": list(tag.get("mean") or open_clip.OPENAI_DATASET_MEAN),
            "std": list(tag.get("std") or open_clip.OPENAI_DATASET_STD),
            "interpolation": tag.get("interpolation") or "bicubic",
            "resize_mode": "squash",
        },
    }


def _download(architecture: str, pretrained: str) -> None:
    """Download the weights of a tag into the cache of the hub library.

    Raises:
        CheckpointError: they cannot be downloaded and are not in the cache.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs each of its retries
    try:
        open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, pretrained))
    except Exception as error:  # open_clip documents no errors
        raise CheckpointError(
            f"the weights {pretrained} of {architecture} cannot be downloaded: check the "
            "connection to the model hub. Without a connection, start from a checkpoint directory "
            "(mumic import weights/mumic-demo --labels labels.yaml --out DIR), or give --weights "
            "FILE"
        ) from error


def _refuse_unsafe(weights: Path) -> None:
    if not weights.is_file():
        raise CheckpointError(f"{weights}: no such file")
    if weights.suffix not in SUFFIXES:
        raise CheckpointError(f"{weights}: the file suffix must be one of {', '.join(SUFFIXES)}")
    if weights.suffix == ".safetensors":
        return
    if zipfile.is_zipfile(weights):
        with zipfile.ZipFile(weights) as archive:
            if any(entry.endswith("constants.pkl") for entry in archive.namelist()):
                raise CheckpointError(f"{weights} {TORCHSCRIPT_ADVICE.format(path=weights)}")


def _origin(pretrained: str | None, weights: Path | None) -> str:
    if weights is not None:
        return f"imported from {weights.name}"
    return f"open_clip tag {pretrained}" if pretrained else "random"


def _readme(name: str, source: str) -> str:
    return (
        f"# {name}\n\n"
        f"{source}. Not fine-tuned: its label thresholds are not fitted, its probabilities are not "
        "calibrated. Fine-tune it with `mumic train`.\n"
    )
