"""Runs `mumic data suspects`: finds photos and labels of a manifest to check by eye."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from app.core.checkpoint import Checkpoint, check_golden, load_model, read_checkpoint
from app.core.images import decoder_fingerprint
from app.core.runtime import choose_placement
from app.dataset.embeddings import has_key, read_embeddings, write_embeddings
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.dataset.manifest import load_names, names_from_labels, same_photo_key
from app.errors import DataError, OptionError
from app.evaluation.predictions import embed_photos
from app.evaluation.requests import SuspectsRequest
from app.evaluation.suspects.contact_sheet import write_contact_sheet
from app.evaluation.suspects.label_errors import (
    find_label_errors,
    label_thresholds,
    out_of_fold_probabilities,
)
from app.evaluation.suspects.near_duplicates import duplicate_groups, find_near_duplicates
from app.evaluation.suspects.suspects import (
    JudgedPhotos,
    Suspect,
    find_suspects,
    implied_labels,
    label_fits,
    write_suspects,
)

EMBEDDINGS_FILE = "embeddings.safetensors"
TABLE_FILE = "suspects.csv"
SHEET_FILE = "suspects.html"


def run_suspects(request: SuspectsRequest, console: Console) -> str:
    """Find likely label errors, near-duplicates in different splits, and photos no label fits.

    Writes suspects.csv and suspects.html, and embeddings.safetensors if it computes embeddings.

    Args:
        request: the checkpoint, the photos and the output folder.
        console: receives progress and notes.

    Returns:
        The number of suspects of each kind and label, as text.

    Raises:
        OptionError: the output folder cannot be created.
        DataError: the manifest, a photo or the embeddings cannot be used, or no label can be
            judged.
        CheckpointError: the checkpoint is damaged.
        DiskError: the embeddings or the contact sheet cannot be written.
    """
    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError("out", f"{request.out} cannot be created: {error.strerror}") from error
    checkpoint = read_checkpoint(request.checkpoint)
    names = (
        load_names(request.names, checkpoint.labels)
        if request.names
        else names_from_labels(checkpoint.labels)
    )
    data = load_labelled_photos(
        request.manifest, request.photos, checkpoint.labels, names=names, columns=request.columns
    )
    first_name: dict[int, str] = {}  # names of the same text have one column
    for name, column in data.classes.items():
        first_name.setdefault(column, name)
    judged = {name: names[name] for name in first_name.values()}
    targets = data.targets[:, list(first_name)].numpy()
    paths = [data.photos / file for file in data.files]
    with Progress(console=console) as progress:
        embeddings = _embeddings(request, checkpoint, data, progress)
        duplicates = find_near_duplicates(
            embeddings,
            paths,
            checkpoint.preprocess,
            workers=request.workers,
            progress=progress,
        )
        groups = duplicate_groups(len(paths), duplicates)
        if (different := len(set(groups))) < request.folds:
            raise DataError(
                f"{request.manifest}: {different} different photos are fewer than the "
                f"{request.folds} folds"
            )
        probabilities = out_of_fold_probabilities(
            embeddings.numpy(),
            targets,
            groups,
            folds=request.folds,
            min_positives=request.min_positives,
            seed=request.seed,
            progress=progress,
        )
    thresholds = label_thresholds(targets, probabilities)
    fits = label_fits(probabilities, thresholds)
    unjudged = [
        name
        for name, fit, known in zip(judged, fits.T, targets.T, strict=True)
        if (known == 1).any() and np.isnan(fit).all()
    ]
    photos = JudgedPhotos(
        data.files,
        data.splits,
        tuple(judged),
        implied_labels(judged, checkpoint.labels),
        targets,
        fits,
    )
    suspects = find_suspects(
        photos, find_label_errors(targets, probabilities, thresholds), duplicates
    )
    write_suspects(request.out / TABLE_FILE, suspects)
    write_contact_sheet(
        request.out / SHEET_FILE, suspects[: request.sheet], data.photos, total=len(suspects)
    )
    if unjudged:
        console.print(
            f"note: not judged, with fewer than {request.min_positives} known positives or "
            f"negatives, or scores that do not separate them: {', '.join(unjudged)}",
            markup=False,
        )
    console.print(f"wrote {request.out / TABLE_FILE} and {request.out / SHEET_FILE}", markup=False)
    return _summary(suspects)


def _embeddings(
    request: SuspectsRequest, checkpoint: Checkpoint, data: LabelledPhotos, progress: Progress
) -> Tensor:
    """Return (N, D) float32 unit rows: from --embeddings, from an earlier run, or computed."""
    if request.embeddings is not None:
        return _embeddings_of(request.embeddings, data.files)
    cache = request.out / EMBEDDINGS_FILE
    paths = [data.photos / file for file in data.files]
    key = _key(checkpoint, paths)
    if not has_key(cache, key):
        device = choose_placement(request.device, "fp32", transformer=False).device
        model = load_model(checkpoint)
        check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
        rows = embed_photos(
            model.to(device),
            checkpoint.preprocess,
            paths,
            workers=request.workers,
            progress=progress,
        )
        write_embeddings(cache, data.files, rows.cpu(), key=key)
    return _embeddings_of(cache, data.files)


def _embeddings_of(path: Path, files: Sequence[str]) -> Tensor:
    """Read the embeddings of some files.

    Raises:
        DataError: the file cannot be read, or lacks a photo.
    """
    embedded, rows = read_embeddings(path)
    row_of = {same_photo_key(file): row for row, file in enumerate(embedded)}
    if missing := [file for file in files if same_photo_key(file) not in row_of]:
        raise DataError(f"{path}: no embedding of {missing[0]} ({len(missing)} such photos)")
    return rows[[row_of[same_photo_key(file)] for file in files]]


def _key(checkpoint: Checkpoint, paths: Sequence[Path]) -> str:
    """Return a key that changes with the weights, the photos and their decoding."""
    inputs = (checkpoint.card.sha256, checkpoint.preprocess, decoder_fingerprint())
    digest = hashlib.sha256(repr(inputs).encode())
    for path in paths:
        digest.update(f"{path} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _summary(suspects: Sequence[Suspect]) -> str:
    kinds = Counter(each.kind for each in suspects)
    lines = [f"{kind:10} {kinds[kind]:7}" for kind in ("label", "duplicate", "no_label")]
    by_label = Counter((each.label, each.given) for each in suspects if each.kind == "label")
    labels = Counter(each.label for each in suspects if each.kind == "label")
    if labels:
        width = max(map(len, labels))
        lines += ["", f"{'label':{width}}  likely wrong  likely missing"]
        lines += [
            f"{label:{width}} {by_label[label, 'present']:13} {by_label[label, 'absent']:15}"
            for label, _ in labels.most_common()
        ]
    return "".join(f"{line}\n" for line in lines)
