"""Labels that were fitted to example photos keep their text and, without photos, thresholds."""

from datetime import UTC, datetime

import numpy as np

from app.core.labels import Added, Label, LabelSet, Thresholds
from app.evaluation.prompts import PromptChoice, apply_prompt_choices
from app.evaluation.thresholds import ThresholdRules, apply_thresholds, fit_thresholds

LABEL = Label(
    id="red_wall",
    name="Red wall",
    description="a red wall",
    category="Custom",
    thresholds=Thresholds(serve=0.4, kind="best_f1"),
    evidence="human",
    added=Added(at=datetime(2026, 12, 1, tzinfo=UTC), examples=4),
)
PLAIN = LABEL.model_copy(update={"id": "wall", "name": "Wall", "added": None})
LABELS = LabelSet(version="1", labels=(LABEL, PLAIN))


def test_fitted_label_without_photos_keeps_thresholds() -> None:
    logits = np.zeros((3, 2), np.float32)
    fitted = fit_thresholds(np.full((3, 2), -1.0), logits, ThresholdRules())
    own, other = apply_thresholds(LABELS, fitted).labels
    assert (own, other.thresholds.serve) == (LABEL, None)


def test_fitted_label_with_photos_gets_thresholds() -> None:
    targets = np.array([[1.0, 1.0], [0.0, 0.0]] * 10)
    logits = np.array([[3.0, 3.0], [-3.0, -3.0]] * 10, np.float32)
    own, other = apply_thresholds(LABELS, fit_thresholds(targets, logits, ThresholdRules())).labels
    assert own.thresholds == other.thresholds != LABEL.thresholds


def test_fitted_label_keeps_its_text() -> None:
    choices = [
        PromptChoice(each.id, 9, 9, 0.1, 0.9, 0.5, 0.9, "name", "description", "changed: better")
        for each in LABELS.labels
    ]
    own, other = apply_prompt_choices(LABELS, choices).labels
    assert (own, other.prompt, other.evidence) == (LABEL, "description", None)
