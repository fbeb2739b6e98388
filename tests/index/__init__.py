"""Tests of the index of photos."""
