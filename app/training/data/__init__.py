"""Batches for training: pixels of photos, or features of a frozen image tower."""

from app.training.data.features import cached_features, trunk_and_head
from app.training.data.inputs import Inputs

__all__ = ["Inputs", "cached_features", "trunk_and_head"]
