"""MuMIC: a service that tags photos with any labels, and all that a checkpoint for it needs."""

__version__ = "0.2.0"
