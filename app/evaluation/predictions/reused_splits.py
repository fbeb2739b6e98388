"""Warnings about a split that several steps use, which makes the figures of one too good."""

from collections.abc import Iterator
from typing import Literal

from app.core.checkpoint import Card
from app.dataset.manifest import Split

OWN_SPLIT_ADVICE = (
    "mumic data split --shares 70/10/10/10 makes a fourth split, calibration, for this step alone"
)
EXPECTATION = {
    "train": "scores of photos that a model was trained on are more confident than other scores",
    "test": "metrics on it no longer say what to expect on other photos",
}
Step = Literal["calibration", "thresholds"]
STEPS: tuple[Step, ...] = ("calibration", "thresholds")


def fitting_warnings(card: Card, split: Split, step: Step) -> Iterator[str]:
    """Yield warnings about the split that a step is fitted to.

    Args:
        card: the card of the checkpoint, which records the splits of earlier steps by name.
        split: the split.
        step: what is fitted to it.
    """
    if split in EXPECTATION:
        yield (
            f"the {step} {_are(step)} fitted to the split {split}: {EXPECTATION[split]}. "
            f"{OWN_SPLIT_ADVICE}"
        )
    elif step == "thresholds" and _split_of(card, "calibration") == split:
        yield (
            f"the calibration was fitted to the split {split} too: serve is the same as without "
            f"it, but the recall of store may be lower than printed. {OWN_SPLIT_ADVICE}"
        )


def measuring_warnings(card: Card, split: Split) -> Iterator[str]:
    """Yield a warning if a checkpoint is measured on the split that it was fitted to.

    Args:
        card: the card of the checkpoint.
        split: the split to measure on.
    """
    fitted = [step for step in STEPS if _split_of(card, step) == split]
    if fitted:
        yield (
            f"{' and '.join(fitted)} of {card.name} {card.version} {_are(*fitted)} fitted to a "
            f"split named {split}: on the same photos, calibration error and decisions look better "
            "than on others"
        )


def _are(*steps: Step) -> str:
    return "was" if steps == ("calibration",) else "were"


def _split_of(card: Card, step: Step) -> object:
    """Return the name of the split that a step was fitted to; None if it is not recorded."""
    recorded = card.metrics.get(step)
    return recorded.get("part") if isinstance(recorded, dict) else None
