"""Finds suspects of a labelled dataset: likely label errors, near-duplicates, unfit photos."""

from app.evaluation.suspects.run import run_suspects

__all__ = ["run_suspects"]
