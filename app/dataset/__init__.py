"""Labelled photos: the manifest, the targets of its labels, and decoded pixels."""
