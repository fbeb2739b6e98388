"""Calibration of labels: thresholds that keep their decisions, and the label set's file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.classifier import Classifier
from app.core.labels import (
    Calibration,
    Label,
    LabelSet,
    Thresholds,
    dump_label_set,
    load_label_set,
    make_selection,
)
from app.errors import LabelSetError
from tests.support.tiny import write_tiny

CALIBRATIONS = st.builds(Calibration, scale=st.floats(0.2, 3), offset=st.floats(-4, 4))
IDS = ("beach", "pool", "sauna")


def label_set(*calibrations: Calibration, serve: float | None = 0.6) -> LabelSet:
    """Build a label for each calibration."""
    return LabelSet(
        version="1",
        labels=tuple(
            Label(
                id=id,
                name=id,
                description=f"the {id}",
                category="Any",
                thresholds=Thresholds(serve=serve, store=0.1, kind="recall"),
                calibration=calibration,
            )
            for id, calibration in zip(IDS, calibrations, strict=False)
        ),
    )


@given(st.floats(0.001, 0.999), CALIBRATIONS, CALIBRATIONS, st.floats(-8, 8))
def test_recalibrated_threshold_keeps_decision(
    serve: float, old: Calibration, new: Calibration, logit: float
) -> None:
    (before,) = label_set(old, serve=serve).labels
    after = before.recalibrated(new)
    log_odds = old.scale * logit + old.offset
    assume(abs(log_odds - np.log(serve / (1 - serve))) > 1e-6)
    assert after.thresholds.serve is not None
    passes_before = 1 / (1 + np.exp(-log_odds)) >= serve
    passes_after = 1 / (1 + np.exp(-(new.scale * logit + new.offset))) >= after.thresholds.serve
    assert passes_before == passes_after
    assert after.thresholds.store < after.thresholds.serve or serve <= 0.1
    assert after.thresholds.kind == "recall"


def test_uncalibrated_restores_thresholds() -> None:
    before = label_set(Calibration())
    there = before.recalibrated([Calibration(scale=0.5, offset=-2.0)])
    assert there.labels[0].thresholds.serve == pytest.approx(0.1422, abs=1e-4)
    back = there.uncalibrated()
    assert back.labels[0].calibration == Calibration()
    assert back.labels[0].thresholds.serve == pytest.approx(0.6)
    assert back.labels[0].thresholds.store == pytest.approx(0.1)


def test_unmeasured_keeps_thresholds_without_statements() -> None:
    fitted = label_set(Calibration()).recalibrated([Calibration(scale=0.5, offset=-2.0)])
    (label,) = fitted.labels
    measured = fitted.model_copy(
        update={"labels": (label.model_copy(update={"evidence": "human"}),)}
    )
    (found,) = measured.unmeasured().labels
    assert (found.calibration, found.evidence) == (Calibration(), None)
    assert found.thresholds.serve == pytest.approx(0.6)
    assert found.thresholds.store == pytest.approx(0.1)
    assert found.thresholds.kind is None  # a guarantee was of other scores


@pytest.mark.parametrize("serve", [None, 0.0, 1.0])
def test_threshold_without_logit_stays(serve: float | None) -> None:
    after = label_set(Calibration(), serve=serve).recalibrated([Calibration(offset=3.0)])
    assert after.labels[0].thresholds.serve == serve


def test_calibration_is_read_back_from_yaml(tmp_path: Path) -> None:
    written = label_set(Calibration(scale=0.1 + 0.2, offset=-1 / 3), Calibration())
    dump_label_set(written, tmp_path / "labels.yaml")
    assert load_label_set(tmp_path / "labels.yaml") == written
    text = (tmp_path / "labels.yaml").read_text()
    assert text.count("calibration: {") == 1


@pytest.mark.parametrize(
    ("field", "message"),
    [("scale: 0.0", "greater than 0"), ("scale: -1.0", "greater than 0"), ("offset: .inf", "")],
)
def test_invalid_calibration_is_refused_with_line(tmp_path: Path, field: str, message: str) -> None:
    path = tmp_path / "labels.yaml"
    dump_label_set(label_set(Calibration()), path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, f"  calibration: {{{field}}}"]) + "\n")
    with pytest.raises(LabelSetError, match=f"{len(lines) + 1}.*{message}"):
        load_label_set(path)


def test_classifier_scores_labels_calibrated(tmp_path: Path) -> None:
    """The same photos get the same labels, in every method of the classifier."""
    plain = label_set(*(Calibration() for _ in IDS))
    calibrations = [Calibration(scale=0.7 + c, offset=1.0 - c) for c in range(3)]
    calibrated = plain.recalibrated(calibrations)
    before, after = (
        Classifier.load(write_tiny(tmp_path / name, labels), device="cpu", precision="fp32")
        for name, labels in (("before", plain), ("after", calibrated))
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, 64, 64), generator=generator, dtype=torch.uint8)
    raw, scored = before.score_images(pixels), after.score_images(pixels)
    torch.testing.assert_close(raw.embeddings, scored.embeddings)
    expected = torch.stack(
        [each.scale * raw.logits[:, c] + each.offset for c, each in enumerate(calibrations)], dim=1
    )
    torch.testing.assert_close(scored.logits, expected)
    torch.testing.assert_close(after.score_embeddings(scored.embeddings), expected)
    texts = after.embed_texts(calibrated.prompts)
    torch.testing.assert_close(
        after.zero_shot(scored.embeddings, texts, "sigmoid"), raw.logits, atol=1e-4, rtol=1e-4
    )
    served = [
        [{tag.label.id for tag in make_selection(labels)(row)} for row in rows]
        for labels, rows in ((plain, raw.logits), (calibrated, scored.logits))
    ]
    assert served[0] == served[1]
    assert any(served[0])
