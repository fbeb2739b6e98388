"""How often each label scores how high, and how far that has moved."""

import math
import re
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.classifier import Classifier
from app.core.drift import BINS, SMALLEST_SHARE, histograms, population_stability_index
from app.main import create_app
from app.serving import score_statistics
from app.serving.metrics import Metrics
from app.serving.score_statistics import ScoreStatistics
from app.settings import Settings
from tests.fakes import PATIENCE_S
from tests.sending import multipart, photo
from tests.tiny import live_server

Array = np.ndarray[Any, Any]
COUNTS = arrays(np.int64, BINS, elements=st.integers(0, 1000)).filter(lambda row: row.sum() > 0)
SIXTEENTHS = st.integers(0, 16).map(lambda n: n / 16)  # which no rounding moves over an edge


@given(arrays(np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=SIXTEENTHS))
def test_histograms_count_every_score_once(rows: Array) -> None:
    naive = np.zeros((3, BINS), dtype=np.int64)
    for row in rows:
        for label, score in enumerate(row):
            naive[label, min(int(float(score) * BINS), BINS - 1)] += 1
    assert (histograms(rows) == naive).all()


@given(COUNTS, COUNTS)
def test_the_index_is_that_of_the_books(counts: Array, reference: Array) -> None:
    wanted = 0.0
    for ours, theirs in zip(counts, reference, strict=True):
        p = max(ours / counts.sum(), SMALLEST_SHARE)
        q = max(theirs / reference.sum(), SMALLEST_SHARE)
        wanted += (p - q) * math.log(p / q)
    assert population_stability_index(counts, reference) == pytest.approx(wanted)
    assert population_stability_index(counts, counts * 3) == pytest.approx(0, abs=1e-12)
    assert population_stability_index(counts, reference) >= 0


def test_nothing_counted_has_no_drift() -> None:
    assert np.isnan(population_stability_index(np.zeros(BINS), np.ones(BINS)))


def told(text: str, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as they are written."""
    lines = re.findall(rf"^{name}((?:{{.*}})?) (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in lines}


def test_drift_is_told_once_there_are_enough_images(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_statistics, "TELL_EVERY_S", 0)
    labels = tiny_classifier.labels
    all_low = [100] + [0] * (BINS - 1)
    metrics = Metrics()
    card_metrics = {"score_histograms": dict.fromkeys(labels.ids, all_low)}
    statistics = ScoreStatistics(labels, card_metrics, metrics)

    def add(score: float, batches: int) -> str:
        for _ in range(batches):
            statistics.add(torch.full((100, len(labels.ids)), score))
        return metrics.render().decode()

    assert not told(add(0.05, 4), "mumic_label_score_drift")
    alike = told(add(0.05, 2), "mumic_label_score_drift")
    assert len(alike) == len(labels.ids)
    assert max(alike.values()) == pytest.approx(0, abs=1e-9)
    moved = add(0.95, 5)
    assert min(told(moved, "mumic_label_score_drift").values()) > 0.25
    scores = told(moved, "mumic_label_scores_total")
    for tenth, images in {"0.0": 600, "0.9": 500}.items():
        assert scores[f'{{label="{labels.ids[0]}",tenth="{tenth}"}}'] == images
    assert sum(scores.values()) == 1100 * len(labels.ids)
    assert set(told(moved, "mumic_label_positives_total").values()) == {500}
    for version in ("1", "2"):
        metrics.name_model(
            name="a", version=version, labels_version="1", device="cpu", precision="fp32"
        )
    gone = told(metrics.render().decode(), "mumic_label_score_drift")  # of another checkpoint
    assert np.isnan(list(gone.values())).all()


def test_the_last_batch_of_a_checkpoint_that_is_gone_counts_and_tells_no_drift(
    tiny_classifier: Classifier,
) -> None:
    labels = tiny_classifier.labels
    metrics = Metrics()
    statistics = ScoreStatistics(
        labels, {"score_histograms": dict.fromkeys(labels.ids, [1] * BINS)}, metrics
    )
    for images in (600, 20):
        statistics.add(torch.full((images, len(labels.ids)), 0.5))
    statistics.retire()
    metrics.name_model(name="a", version="2", labels_version="1", device="cpu", precision="fp32")
    metrics.name_model(name="a", version="3", labels_version="1", device="cpu", precision="fp32")
    for _ in range(2):
        statistics.add(torch.full((3, len(labels.ids)), 0.5))
    text = metrics.render().decode()
    assert np.isnan(list(told(text, "mumic_label_score_drift").values())).all()
    assert set(told(text, "mumic_label_scores_total").values()) == {626}


@pytest.mark.parametrize("wrong", [{}, {"pool": [1]}, [1, 2], "x"])
def test_a_reference_that_does_not_fit_is_told_and_costs_nothing_else(
    tiny_classifier: Classifier, wrong: object, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tiny_classifier.labels
    statistics = ScoreStatistics(labels, {"score_histograms": wrong}, Metrics())
    assert "no drift is told" in caplog.text
    statistics.add(torch.rand(8, len(labels.ids)))


def test_scores_that_are_not_finite_are_not_counted(tiny_classifier: Classifier) -> None:
    labels = tiny_classifier.labels
    metrics = Metrics()
    rows = torch.full((3, len(labels.ids)), 0.5)
    rows[1, 0] = torch.nan
    ScoreStatistics(labels, {}, metrics).add(rows)
    scores = told(metrics.render().decode(), "mumic_label_scores_total")
    assert set(scores.values()) == {2}


def test_answers_are_counted_and_checks_are_not(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_statistics, "TELL_EVERY_S", 0)
    with (
        live_server(create_app(small_settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):

        def images() -> float:
            scores = told(client.get("/metrics").text, "mumic_label_scores_total")
            return sum(scores.values()) / len(client.get("/labels").json()["labels"])

        def ask() -> None:
            assert client.post("/predict", **multipart(photo())).status_code == 200

        ask()
        before = images()
        for _ in range(3):
            assert client.get("/readyz").status_code == 200
            ask()
        ask()
        assert images() == before + 4
