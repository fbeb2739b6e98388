"""Read, check and write a checkpoint directory.

The directory is open_clip's own format plus four files of ours; docs/checkpoints.md tells a
reader what each one holds. Reading verifies every hash before a weight is loaded.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.checkpoint.card import (
    CARD_FILE,
    Card,
    Golden,
    file_hash,
    make_card,
    read_card,
    reading,
    write_card,
)
from app.core.checkpoint.golden import embed_golden
from app.core.files import disk_errors, refuse_foreign, staging_directory
from app.core.images import Preprocess
from app.core.labels import LabelSet, dump_label_set, load_label_set
from app.core.model import MumicModel
from app.errors import CheckpointError

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
LABELS_FILE = "labels.yaml"
LABEL_EMBEDDINGS_FILE = "label_embeddings.safetensors"
README_FILE = "README.md"
HASHED_FILES = (WEIGHTS_FILE, CONFIG_FILE, LABELS_FILE)
PICKLE_SUFFIXES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}

log = logging.getLogger("mumic.checkpoint")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint directory, its weights not yet loaded."""

    directory: Path
    card: Card
    config: Mapping[str, Any]
    labels: LabelSet
    preprocess: Preprocess


def read_checkpoint(directory: Path) -> Checkpoint:
    """Verify a checkpoint directory and read all but its weights.

    Raises:
        CheckpointError: a file is missing, altered or unsafe; the text says which and what to do.
        LabelSetError: labels.yaml is not valid.
    """
    with reading(directory):
        _refuse_incomplete_or_unsafe(directory)
    card = read_card(directory)
    for name in HASHED_FILES:
        if card.sha256.get(name) != file_hash(directory / name):
            raise CheckpointError(
                f"{directory / name}: its sha256 is not the one in {CARD_FILE}: the file was "
                "altered or is incomplete. Copy the checkpoint again; if you edited labels or "
                f"thresholds on purpose, sign it with: mumic seal {directory}"
            )
    config = _read_config(directory)
    return Checkpoint(
        directory=directory,
        card=card,
        config=config,
        labels=load_label_set(directory / LABELS_FILE),
        preprocess=Preprocess.from_config(config["preprocess_cfg"], card.exif_orientation),
    )


def load_model(directory: Path) -> MumicModel:
    """Build a checkpoint's towers, in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: open_clip cannot build the architecture or the weights do not fit it.
    """
    refuse_hub_text_tower(_read_config(directory)["model_cfg"])
    source = f"local-dir:{directory}"
    try:
        clip = open_clip.create_model(source, require_pretrained=True, weights_only=True)
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as error:  # open_clip names no errors: a bad config can raise anything
        raise CheckpointError(
            f"{directory}: open_clip cannot load it: {error}. Do {WEIGHTS_FILE} and "
            f"{CONFIG_FILE} belong together?"
        ) from error
    return MumicModel(clip.eval(), tokenizer)


def refuse_hub_text_tower(model_cfg: Mapping[str, Any]) -> None:
    """Refuse a text tower or tokenizer that open_clip would fetch from a hub.

    Raises:
        CheckpointError: the configuration names one.
    """
    text_cfg = model_cfg.get("text_cfg")
    if isinstance(text_cfg, dict) and {"hf_model_name", "hf_tokenizer_name"} & text_cfg.keys():
        raise CheckpointError(
            "the text tower or its tokenizer comes from a hub; MuMIC reads CLIP's own tokenizer "
            "alone: use an architecture with it, e.g. ViT-B-32"
        )


def write_checkpoint(
    directory: Path,
    model: MumicModel,
    config: Mapping[str, Any],
    labels: LabelSet,
    *,
    name: str,
    version: str,
    readme: str,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    exif_orientation: bool = True,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a whole checkpoint directory, or nothing.

    Args:
        directory: where it goes; a checkpoint that is there is replaced.
        model: the towers.
        config: open_clip's `model_cfg` and `preprocess_cfg`.
        labels: the label set with prompts, positive weights and thresholds.
        name: the checkpoint's name, for answers and metrics.
        version: its version.
        readme: the model card, Markdown.
        training: how it was made.
        metrics: what it reached.
        exif_orientation: whether photos are turned upright first.
        dtype: how floating weights are stored. The golden embeddings are those of the stored
            weights.

    Raises:
        CheckpointError: something else than a checkpoint is there, or a field is not valid.
        DiskError: it cannot be written; what was there before is whole.
    """
    with staging_directory(directory, CARD_FILE) as draft:
        state = {
            key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
            for key, value in model.clip.state_dict().items()
        }
        save_file(state, draft / WEIGHTS_FILE, metadata={"format": "pt"})
        (draft / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        dump_label_set(labels, draft / LABELS_FILE)
        (draft / README_FILE).write_text(readme, encoding="utf-8")
        _sign(
            draft,
            name=name,
            version=version,
            exif_orientation=exif_orientation,
            training=dict(training or {}),
            metrics=dict(metrics or {}),
        )


def refuse_unwritable(directory: Path, *, name: str, version: str) -> None:
    """Refuse what `write_checkpoint` would, before the long work whose result it is to write.

    Raises:
        CheckpointError: something else than a checkpoint is there, or a field is not valid.
    """
    refuse_foreign(directory, CARD_FILE)
    nothing = Golden(image_embeddings=(), text_embeddings=())
    make_card(name=name, version=version, sha256={}, golden=nothing)


def seal(directory: Path) -> None:
    """Sign a checkpoint whose labels, thresholds or weights were edited on purpose.

    Hashes, golden embeddings and cached label embeddings are made anew from the files there.

    Raises:
        CheckpointError: the directory is incomplete or unsafe.
        LabelSetError: labels.yaml is not valid.
        DiskError: it cannot be written to.
    """
    _refuse_incomplete_or_unsafe(directory)
    kept = {"name", "version", "exif_orientation", "training", "metrics"}
    with disk_errors(directory, "it is not signed: seal it again when it can be"):
        _sign(directory, **read_card(directory).model_dump(include=kept))


def label_embeddings(checkpoint: Checkpoint, model: MumicModel) -> Tensor:
    """The label-text embeddings: from the cache file when it belongs here, else computed.

    It belongs here when the card signs it and its key is that of these weights, configuration
    and prompts. It can be made again, so one that does not is no reason to refuse a start.

    Returns:
        (C, D) float32 unit rows, in the order of the label set.
    """
    path = checkpoint.directory / LABEL_EMBEDDINGS_FILE
    if path.is_file():
        key = _cache_key(checkpoint.card.sha256, checkpoint.labels)
        with suppress(CheckpointError, OSError):
            if checkpoint.card.sha256.get(path.name) == file_hash(path) and _key_of(path) == key:
                # Cloned, or the rows would lie in the file, which `mumic seal` writes anew.
                return load_file(path)["text_embeddings"].clone()
        log.warning("%s does not belong to this checkpoint: label texts are embedded anew", path)
    return embed_prompts(model, checkpoint.labels)


@torch.inference_mode()
def embed_prompts(model: MumicModel, labels: LabelSet) -> Tensor:
    """Embed each label's prompt.

    Returns:
        (C, D) float32 unit rows on the CPU.
    """
    tokens = model.tokenize(labels.prompts).to(model.device)
    return torch.cat([model.encode_text(part).cpu() for part in torch.split(tokens, 256)])


def _sign(directory: Path, **fields: Any) -> None:
    """Write the label embeddings and the card from the other files of the directory."""
    config = _read_config(directory)
    labels = load_label_set(directory / LABELS_FILE)
    preprocess = Preprocess.from_config(
        config["preprocess_cfg"], fields.get("exif_orientation", True)
    )
    model = load_model(directory)
    hashes = {name: file_hash(directory / name) for name in HASHED_FILES}
    cache = directory / LABEL_EMBEDDINGS_FILE
    save_file(
        {"text_embeddings": embed_prompts(model, labels)},
        cache,
        metadata={"key": _cache_key(hashes, labels)},
    )
    cache.chmod(0o644)  # safetensors keeps others out
    hashes[cache.name] = file_hash(cache)
    card = make_card(sha256=hashes, golden=embed_golden(model, preprocess), **fields)
    write_card(directory, card)


def _cache_key(hashes: Mapping[str, str], labels: LabelSet) -> str:
    sources = [hashes[WEIGHTS_FILE], hashes[CONFIG_FILE], *labels.prompts]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _key_of(cache: Path) -> str | None:
    with safe_open(cache, framework="pt") as file:
        return (file.metadata() or {}).get("key")


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG_FILE
    with reading(path):
        data = path.read_bytes()
    try:
        config = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    for section in ("model_cfg", "preprocess_cfg"):
        if not isinstance(config, dict) or not isinstance(config.get(section), dict):
            raise CheckpointError(f"{path}: the section {section!r} is missing")
    return dict(config)


def _refuse_incomplete_or_unsafe(directory: Path) -> None:
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such checkpoint directory")
    missing = [name for name in (*HASHED_FILES, CARD_FILE) if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{directory}: {', '.join(missing)} missing; a checkpoint directory holds "
            f"{', '.join((*HASHED_FILES, CARD_FILE))}"
        )
    pickles = sorted(p.name for p in directory.rglob("*") if p.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"{directory}: {', '.join(pickles)} may hold a pickle, which can run code when it is "
            "read. Only safetensors are loaded: convert it with mumic import, or take it out"
        )
    try:
        with safe_open(directory / WEIGHTS_FILE, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{directory / WEIGHTS_FILE}: not a whole safetensors file ({error}). "
            "Copy the checkpoint again"
        ) from error
