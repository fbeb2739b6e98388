"""ASL: an image tower with a linear head, trained on the asymmetric loss."""

from app.baselines.asl.classifier import CARD_FILE, load_asl
from app.baselines.asl.run import run_asl_training
from app.baselines.asl.training import AslSettings, train_asl

__all__ = ["CARD_FILE", "AslSettings", "load_asl", "run_asl_training", "train_asl"]
