"""Read, check and write a checkpoint directory.

The directory is open_clip's own format plus four files of ours; docs/checkpoints.md tells a
reader what each one holds. Reading verifies every hash before a weight is loaded.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.golden import Golden, embed_golden
from app.core.labels import LabelSet, dump_label_set, load_label_set
from app.core.model import MumicModel
from app.core.preprocess import Preprocess
from app.errors import CheckpointError

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
LABELS_FILE = "labels.yaml"
CARD_FILE = "mumic.json"
LABEL_EMBEDDINGS_FILE = "label_embeddings.safetensors"
README_FILE = "README.md"
HASHED_FILES = (WEIGHTS_FILE, CONFIG_FILE, LABELS_FILE)
PICKLE_SUFFIXES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


class Card(BaseModel):
    """mumic.json: what a checkpoint says of itself, and the hashes that hold it together.

    Attributes:
        sha256: the hash of each file in `HASHED_FILES`.
        exif_orientation: whether photos are turned upright before the model sees them.
        training: how the checkpoint was made, free-form.
        metrics: what it reached, free-form.
        golden: embeddings that a loaded model must reproduce.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(min_length=1)
    sha256: dict[str, str]
    exif_orientation: bool = True
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    golden: Golden


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
    _refuse_incomplete_or_unsafe(directory)
    try:
        card = Card.model_validate_json((directory / CARD_FILE).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CheckpointError(f"{directory / CARD_FILE}: {where}: {first['msg']}") from error
    for name, found in file_hashes(directory).items():
        if card.sha256.get(name) != found:
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
    source = f"local-dir:{directory}"
    try:
        clip = open_clip.create_model(source, require_pretrained=True, weights_only=True)
        tokenizer = open_clip.get_tokenizer(source)
    except (RuntimeError, ValueError, TypeError, KeyError, OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: open_clip cannot load it: {error}") from error
    return MumicModel(clip.eval(), tokenizer)


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

    The files are made in a temporary folder beside it, which then takes its place.

    Args:
        directory: where it goes; an existing checkpoint there is replaced.
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
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
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
        draft.chmod(0o755)  # mkdtemp and safetensors keep others out
        for file in draft.iterdir():
            file.chmod(0o644)
        replaced = draft.with_name(f"{draft.name}-replaced")
        if directory.exists():
            directory.rename(replaced)
        draft.rename(directory)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def seal(directory: Path) -> None:
    """Sign a checkpoint whose labels, thresholds or weights were edited on purpose.

    Hashes, golden embeddings and cached label embeddings are made anew from the files there.

    Raises:
        CheckpointError: the directory is incomplete or unsafe.
        LabelSetError: labels.yaml is not valid.
    """
    _refuse_incomplete_or_unsafe(directory)
    card = json.loads((directory / CARD_FILE).read_bytes())
    kept = {"name", "version", "exif_orientation", "training", "metrics"}
    _sign(directory, **{key: value for key, value in card.items() if key in kept})


def label_embeddings(checkpoint: Checkpoint, model: MumicModel) -> Tensor:
    """The label-text embeddings: from the cache file when its key matches, else computed.

    Returns:
        (C, D) float32 unit rows, in the order of the label set.
    """
    path = checkpoint.directory / LABEL_EMBEDDINGS_FILE
    if path.exists():
        with safe_open(path, framework="pt") as cache:
            if (cache.metadata() or {}).get("key") == _cache_key(
                checkpoint.card, checkpoint.labels
            ):
                return load_file(path)["text_embeddings"]
    return embed_prompts(model, checkpoint.labels)


@torch.inference_mode()
def embed_prompts(model: MumicModel, labels: LabelSet) -> Tensor:
    """Embed each label's prompt.

    Returns:
        (C, D) float32 unit rows on the CPU.
    """
    tokens = model.tokenize(labels.prompts).to(model.device)
    return torch.cat([model.encode_text(part).cpu() for part in torch.split(tokens, 256)])


def file_hashes(directory: Path) -> dict[str, str]:
    """The sha256 of each file in `HASHED_FILES`, as hex."""
    hashes = {}
    for name in HASHED_FILES:
        with (directory / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _sign(directory: Path, **fields: Any) -> None:
    """Write the label embeddings and the card from the other files of the directory."""
    config = _read_config(directory)
    labels = load_label_set(directory / LABELS_FILE)
    preprocess = Preprocess.from_config(
        config["preprocess_cfg"], fields.get("exif_orientation", True)
    )
    model = load_model(directory)
    card = Card(sha256=file_hashes(directory), golden=embed_golden(model, preprocess), **fields)
    save_file(
        {"text_embeddings": embed_prompts(model, labels)},
        directory / LABEL_EMBEDDINGS_FILE,
        metadata={"key": _cache_key(card, labels)},
    )
    partial = directory / f".{CARD_FILE}"
    partial.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(directory / CARD_FILE)


def _cache_key(card: Card, labels: LabelSet) -> str:
    sources = [card.sha256[WEIGHTS_FILE], card.sha256[CONFIG_FILE], *labels.prompts]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG_FILE
    try:
        config = json.loads(path.read_bytes())
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
    pickles = sorted(p.name for p in directory.rglob("*") if p.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"{directory}: {', '.join(pickles)} may hold a pickle, which can run code when it is "
            "read. Only safetensors are loaded: convert it with mumic import, or take it out"
        )
    try:
        with safe_open(directory / WEIGHTS_FILE, framework="pt"):
            pass
    except SafetensorError as error:
        raise CheckpointError(
            f"{directory / WEIGHTS_FILE}: not a whole safetensors file: {error}"
        ) from error
