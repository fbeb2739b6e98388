"""Runs `mumic data candidates`: samples the photos to annotate."""

import numpy as np
from rich.console import Console

from app.annotation.output_paths import refuse_overwriting
from app.annotation.requests import CandidatesRequest
from app.annotation.sampling.candidates import sample_similar_photos, sample_stratified_photos
from app.annotation.sampling.queries import embed_queries
from app.annotation.sampling.strata import read_strata
from app.dataset.embeddings import read_embeddings
from app.dataset.manifest import join_cell, write_table


def run_candidates(request: CandidatesRequest, console: Console) -> None:
    """Sample photos over the strata of a column, and photos similar to rare labels.

    Args:
        request: the archive, the strata and the rare labels.
        console: receives notes.

    Raises:
        OptionError: an option is not valid.
        DataError: a file is not valid or cannot be written.
        CheckpointError: the checkpoint is damaged.
    """
    refuse_overwriting(
        {"out": request.out},
        {"embeddings": request.embeddings, "properties": request.properties},
    )
    files, embeddings = read_embeddings(request.embeddings)
    strata = read_strata(request.properties, request.by, files, file_column=request.file_column)
    picked_for: dict[str, list[str]] = {
        file: []
        for file in sample_stratified_photos(
            strata, request.count, np.random.default_rng(request.seed)
        )
    }
    queries = embed_queries(request.rare, request.checkpoint, embeddings.shape[1])
    for label, texts in queries.items():
        # A generator per label: another rare label does not change the sample of this one.
        draw = np.random.default_rng([request.seed, *label.encode()])
        for file in sample_similar_photos(
            files, embeddings, texts, top=request.top, count=request.per_label, draw=draw
        ):
            picked_for.setdefault(file, []).append(label)
    write_table(
        request.out,
        ("file", request.by, "picked_for"),
        ([file, strata[file], join_cell(labels)] for file, labels in sorted(picked_for.items())),
    )
    console.print(f"wrote {request.out}: {len(picked_for)} of {len(files)} photos", markup=False)
