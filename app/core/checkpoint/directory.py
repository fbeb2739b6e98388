"""Read, check and write a checkpoint directory.

The directory has open_clip's own format plus files of our own, which are described in
docs/reference/checkpoint-directory.md. All hashes are verified before weights are loaded.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
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
    read_errors,
    write_card,
)
from app.core.checkpoint.class_embeddings_file import check_fitted_labels, read_class_embeddings
from app.core.checkpoint.golden import embed_golden
from app.core.checkpoint.layout import (
    CLASS_EMBEDDINGS_FILE,
    CONFIG_FILE,
    HASHED_FILES,
    LABEL_EMBEDDINGS_FILE,
    LABELS_FILE,
    README_FILE,
    WEIGHTS_FILE,
    key_of,
)
from app.core.checkpoint.optional_files import (
    sign_optional_files,
    verify_optional_files,
    without_deleted,
)
from app.core.files import disk_errors, refuse_foreign, staging_directory
from app.core.images import Preprocess
from app.core.labels import LabelSet, dump_label_set, load_label_set, tokenizer_words
from app.core.model import MumicModel
from app.errors import CheckpointError

PICKLE_SUFFIXES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}

MAX_LABELS_NAMED = 3

log = logging.getLogger("mumic.checkpoint")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint directory, without its weights.

    Attributes:
        directory: the directory.
        card: its mumic.json.
        config: its open_clip_config.json, with `model_cfg` and `preprocess_cfg`.
        labels: its label set.
        preprocess: its image preprocessing.
    """

    directory: Path
    card: Card
    config: Mapping[str, Any]
    labels: LabelSet
    preprocess: Preprocess

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.config["model_cfg"]["embed_dim"])


def read_checkpoint(directory: Path, labels: LabelSet | None = None) -> Checkpoint:
    """Verify a checkpoint directory and read everything except its weights.

    Args:
        directory: the directory.
        labels: a label set to use instead of labels.yaml, which is then not verified.

    Raises:
        CheckpointError: a file is missing, altered or unsafe; the text names it and the remedy.
        LabelSetError: labels.yaml is invalid.
    """
    with read_errors(directory):
        _refuse_incomplete_or_unsafe(directory)
    card = read_card(directory)
    for name in HASHED_FILES:
        if name == LABELS_FILE and labels is not None:
            continue
        if card.sha256.get(name) != file_hash(directory / name):
            raise CheckpointError(
                f"{directory / name}: its sha256 differs from the one in {CARD_FILE}: the file was "
                "altered or is incomplete. Copy the checkpoint again; if you edited labels or "
                f"thresholds on purpose, sign it with: mumic seal {directory}"
            )
    verify_optional_files(directory, card)
    config = _read_config(directory)
    return Checkpoint(
        directory=directory,
        card=card,
        config=config,
        labels=labels or load_label_set(directory / LABELS_FILE),
        preprocess=Preprocess.from_config(config["preprocess_cfg"], card.exif_orientation),
    )


def load_model(checkpoint: Checkpoint) -> MumicModel:
    """Build a checkpoint's towers, in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: open_clip cannot build the architecture, or the weights do not fit it.
    """
    return _build_model(checkpoint.directory)


def _build_model(directory: Path) -> MumicModel:
    """Build the towers from a directory whose configuration was read by `_read_config`."""
    source = f"local-dir:{directory}"
    try:
        clip = open_clip.create_model(source, require_pretrained=True, weights_only=True)
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as error:  # open_clip documents no errors; a bad config can raise any
        raise CheckpointError(
            f"{directory}: open_clip cannot load it: {error}. Do {WEIGHTS_FILE} and "
            f"{CONFIG_FILE} belong together?"
        ) from error
    return MumicModel(clip.eval(), tokenizer)


def refuse_hub_text_tower(model_cfg: Mapping[str, Any]) -> None:
    """Reject a text tower or tokenizer that open_clip would download from a hub.

    Raises:
        CheckpointError: the configuration names one.
    """
    text_cfg = model_cfg.get("text_cfg")
    if isinstance(text_cfg, dict) and {"hf_model_name", "hf_tokenizer_name"} & text_cfg.keys():
        raise CheckpointError(
            "the text tower or its tokenizer comes from a hub; MuMIC supports only CLIP's own "
            "tokenizer: use an architecture with it, e.g. ViT-B-32"
        )


def refuse_not_finite(source: str, state: Mapping[str, Tensor]) -> None:
    """Reject weights that contain NaN or infinity.

    Args:
        source: the file of the weights, for the message.
        state: each tensor by its name.

    Raises:
        CheckpointError: a value is not finite; the text names the tensor.
    """
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{source}: the tensor {name} contains NaN or infinity, for example after a "
                "training run that overflowed; use an earlier copy of the weights"
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
    """Write a checkpoint directory atomically.

    Args:
        directory: the target; an existing checkpoint is replaced.
        model: the towers.
        config: open_clip's `model_cfg` and `preprocess_cfg`.
        labels: the label set with prompts, positive weights and thresholds.
        name: the checkpoint's name, for responses and metrics.
        version: its version.
        readme: the model card, in Markdown.
        training: how it was trained, free-form.
        metrics: its evaluation metrics, free-form.
        exif_orientation: whether to apply the EXIF orientation of images.
        dtype: of the stored floating-point weights. The golden embeddings are computed with the
            stored weights.

    Raises:
        CheckpointError: the target exists and is not a checkpoint, or a field is invalid.
        DiskError: the disk cannot be written; an existing checkpoint is unchanged.
    """
    with staging_directory(directory, CARD_FILE) as staging:
        state = {
            key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
            for key, value in model.clip.state_dict().items()
        }
        save_file(state, staging / WEIGHTS_FILE, metadata={"format": "pt"})
        (staging / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        dump_label_set(labels, staging / LABELS_FILE)
        (staging / README_FILE).write_text(readme, encoding="utf-8")
        sign(
            staging,
            name=name,
            version=version,
            exif_orientation=exif_orientation,
            training=dict(training or {}),
            metrics=dict(metrics or {}),
        )


def refuse_unwritable(directory: Path, *, name: str, version: str) -> None:
    """Check before a long computation that `write_checkpoint` will accept its target.

    Raises:
        CheckpointError: the target exists and is not a checkpoint, or a field is invalid.
    """
    refuse_foreign(directory, CARD_FILE)
    placeholder = Golden(image_embeddings=(), text_embeddings=())
    make_card(name=name, version=version, sha256={}, golden=placeholder)


def seal(directory: Path) -> None:
    """Sign a checkpoint whose labels, thresholds or weights were edited on purpose.

    Hashes, golden embeddings and cached label embeddings are recomputed from the files. Name,
    version and metrics stay, so the label ids must stay, too. The metrics of a deleted optional
    file are removed.

    Raises:
        CheckpointError: the directory is incomplete or unsafe, has other label ids, or an
            optional file that is invalid or was fitted to other weights.
        LabelSetError: labels.yaml is invalid.
        DiskError: the directory cannot be written.
    """
    _refuse_incomplete_or_unsafe(directory)
    card = read_card(directory)
    _refuse_other_labels(directory, card)
    kept = {"name", "version", "exif_orientation", "training", "metrics", "label_changes"}
    fields = card.model_dump(include=kept)
    fields["metrics"] = without_deleted(card.metrics, directory)
    with disk_errors(directory, "it is not signed; fix the cause and seal it again"):
        sign(directory, **fields)


def label_embeddings(checkpoint: Checkpoint, model: MumicModel) -> Tensor:
    """Return the embeddings that the labels are scored by.

    A label that was fitted to example photos has an embedding of its own, all others have that of
    their prompt.

    Returns:
        (C, D) float32 unit rows, in the order of the label set.

    Raises:
        CheckpointError: the class embeddings are not those of the label set.
    """
    prompts = checkpoint.labels.prompts
    return with_class_embeddings(checkpoint, prompts, prompt_embeddings(checkpoint, model))


def with_class_embeddings(
    checkpoint: Checkpoint, texts: Sequence[str], text_embeddings: Tensor
) -> Tensor:
    """Replace the embeddings of texts that are the prompt of a fitted label.

    Args:
        checkpoint: has the class embeddings.
        texts: T rendered texts.
        text_embeddings: (T, D) float32 unit rows.

    Returns:
        (T, D) float32 unit rows, on the device of the texts.

    Raises:
        CheckpointError: the class embeddings are not those of the label set.
    """
    labels = checkpoint.labels
    own = class_embeddings(checkpoint)
    if not own:
        return text_embeddings
    of_prompt = {
        tokenizer_words(prompt): own[label.id]
        for label, prompt in zip(labels.labels, labels.prompts, strict=True)
        if label.id in own
    }
    rows = text_embeddings.clone()
    for row, text in zip(rows, texts, strict=True):
        fitted = of_prompt.get(tokenizer_words(text))
        if fitted is not None:
            row.copy_(fitted)
    return rows


def class_embeddings(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the class embeddings of the fitted labels, (D,) float32 unit vectors by label id.

    Raises:
        CheckpointError: they are not those of the label set.
    """
    path = checkpoint.directory / CLASS_EMBEDDINGS_FILE
    found = read_class_embeddings(path, checkpoint.dimension)
    check_fitted_labels(found, checkpoint.labels, path)
    return found


def prompt_embeddings(checkpoint: Checkpoint, model: MumicModel) -> Tensor:
    """Return the embeddings of the label prompts, from the cache file if it is valid.

    The cache file is valid if the card signs it and its key matches the weights, the configuration
    and the prompts. Otherwise the embeddings are computed, since an invalid cache file is no reason
    to reject the checkpoint.

    Returns:
        (C, D) float32 unit rows, in the order of the label set.
    """
    path = checkpoint.directory / LABEL_EMBEDDINGS_FILE
    if path.is_file():
        key = _cache_key(checkpoint.card.sha256, checkpoint.labels)
        with suppress(CheckpointError, OSError):
            if checkpoint.card.sha256.get(path.name) == file_hash(path) and key_of(path) == key:
                # Cloned since the rows map the file, which `mumic seal` overwrites.
                return load_file(path)["text_embeddings"].clone()
        log.warning("%s does not match this checkpoint; label texts are embedded again", path)
    return model.embed_texts(checkpoint.labels.prompts)


def sign(directory: Path, **fields: Any) -> None:
    """Write the label embeddings and the card, computed from the other files.

    Args:
        directory: has weights, configuration and label set.
        fields: of the card, except the hashes and the golden embeddings.

    Raises:
        CheckpointError: the weights are not finite or cannot be loaded, a field is invalid, or an
            optional file is invalid or was fitted to other weights.
        LabelSetError: labels.yaml is invalid.
    """
    config = _read_config(directory)
    labels = load_label_set(directory / LABELS_FILE)
    preprocess = Preprocess.from_config(
        config["preprocess_cfg"], fields.get("exif_orientation", True)
    )
    model = _build_model(directory)
    refuse_not_finite(WEIGHTS_FILE, model.clip.state_dict())
    hashes = {name: file_hash(directory / name) for name in HASHED_FILES}
    signed = sign_optional_files(directory, hashes, config["model_cfg"]["embed_dim"], labels)
    embeddings = model.embed_texts(labels.prompts)
    hashes[LABEL_EMBEDDINGS_FILE] = save_prompt_embeddings(directory, labels, embeddings, hashes)
    card = make_card(sha256=hashes | signed, golden=embed_golden(model, preprocess), **fields)
    write_card(directory, card)


def save_prompt_embeddings(
    directory: Path, labels: LabelSet, embeddings: Tensor, hashes: Mapping[str, str]
) -> str:
    """Write the cache file of the label prompts and return its hash.

    Args:
        directory: the checkpoint.
        labels: its label set.
        embeddings: (C, D) float32 unit rows, of the prompts.
        hashes: of its weights and its configuration.
    """
    path = directory / LABEL_EMBEDDINGS_FILE
    save_file(
        {"text_embeddings": embeddings, "label_ids": _encoded(labels.ids)},
        path,
        metadata={"key": _cache_key(hashes, labels)},
    )
    path.chmod(0o644)  # safetensors makes files readable by their owner only
    return file_hash(path)


def _cache_key(hashes: Mapping[str, str], labels: LabelSet) -> str:
    sources = [hashes[WEIGHTS_FILE], hashes[CONFIG_FILE], *labels.prompts]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _encoded(ids: list[str]) -> Tensor:
    """Encode label ids as a tensor: the order of two metadata entries would be random."""
    return torch.tensor(list(json.dumps(ids).encode()), dtype=torch.uint8)


def _refuse_other_labels(directory: Path, card: Card) -> None:
    """Reject a labels.yaml whose ids are not those that the checkpoint was signed with."""
    path = directory / LABELS_FILE
    signed = _signed_label_ids(directory, card)
    ids = load_label_set(path).ids
    if signed is None or set(ids) == set(signed):
        return
    changes = [
        f"{what} {', '.join(names[:MAX_LABELS_NAMED])}"
        + (f" and {len(names) - MAX_LABELS_NAMED} more" if len(names) > MAX_LABELS_NAMED else "")
        for what, names in (
            ("new:", [id for id in ids if id not in signed]),
            ("missing:", [id for id in signed if id not in ids]),
        )
        if names
    ]
    raise CheckpointError(
        f"{path}: the label ids are not those of {card.name} {card.version} "
        f"({'; '.join(changes)}), so its metrics and thresholds do not apply. "
        f"Make a new checkpoint with these labels: mumic import {directory} --labels {path} "
        "--out DIR"
    )


def _signed_label_ids(directory: Path, card: Card) -> list[str] | None:
    """Return the label ids that a checkpoint was signed with, or None if they are not recorded.

    The label embeddings record them. Checkpoints of version 0.2 and older record them only in the
    histograms of `mumic thresholds`.
    """
    cache = directory / LABEL_EMBEDDINGS_FILE
    with suppress(SafetensorError, OSError, ValueError, KeyError):
        return list(json.loads(bytes(load_file(cache)["label_ids"].tolist())))
    histograms = card.metrics.get("score_histograms")
    return list(histograms) if isinstance(histograms, Mapping) else None


def _read_config(directory: Path) -> dict[str, Any]:
    """Read open_clip_config.json and reject a configuration that open_clip must not load."""
    path = directory / CONFIG_FILE
    with read_errors(path):
        data = path.read_bytes()
    try:
        config = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    for section in ("model_cfg", "preprocess_cfg"):
        if not isinstance(config, dict) or not isinstance(config.get(section), dict):
            raise CheckpointError(f"{path}: the section {section!r} is missing")
    refuse_hub_text_tower(config["model_cfg"])
    return dict(config)


def _refuse_incomplete_or_unsafe(directory: Path) -> None:
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such checkpoint directory")
    missing = [name for name in (*HASHED_FILES, CARD_FILE) if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{directory}: {', '.join(missing)} missing; a checkpoint directory contains "
            f"{', '.join((*HASHED_FILES, CARD_FILE))}"
        )
    pickles = sorted(p.name for p in directory.rglob("*") if p.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"{directory}: {', '.join(pickles)} may contain a pickle, which can run code when it "
            "is read. Only safetensors are loaded: convert it with mumic import, or remove it"
        )
    try:
        with safe_open(directory / WEIGHTS_FILE, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{directory / WEIGHTS_FILE}: not a complete safetensors file ({error}). "
            "Copy the checkpoint again"
        ) from error
