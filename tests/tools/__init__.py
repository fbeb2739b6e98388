"""Tests of the tools of the project."""
