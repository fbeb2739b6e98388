"""Samples the photos to annotate from an archive."""

from app.annotation.sampling.candidates import sample_similar_photos, sample_stratified_photos
from app.annotation.sampling.run import run_candidates
from app.annotation.sampling.strata import read_strata

__all__ = [
    "read_strata",
    "run_candidates",
    "sample_similar_photos",
    "sample_stratified_photos",
]
