"""Samples the photos to annotate from an archive."""

from app.annotation.sampling.archive import (
    read_archive_embeddings,
    read_strata,
    write_archive_embeddings,
)
from app.annotation.sampling.candidates import sample_similar_photos, sample_stratified_photos
from app.annotation.sampling.run import run_candidates

__all__ = [
    "read_archive_embeddings",
    "read_strata",
    "run_candidates",
    "sample_similar_photos",
    "sample_stratified_photos",
    "write_archive_embeddings",
]
