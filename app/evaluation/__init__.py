"""Evaluates checkpoints on labelled photos, and fits thresholds and label texts to them."""
