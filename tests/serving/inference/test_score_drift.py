"""Score histograms by label, and their drift from the validation scores."""

import bisect
import json
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
from app.core.labels import (
    BINS,
    TENTHS,
    Label,
    LabelSet,
    Thresholds,
    histograms,
    population_stability_index,
    read_reference_histograms,
    reference_histograms,
)
from app.core.labels.drift import MIN_SHARE
from app.main import create_app
from app.serving.inference import score_statistics
from app.serving.inference.score_statistics import ScoreStatistics
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.fakes import PATIENCE_S
from tests.support.requests import multipart, photo
from tests.support.tiny import live_server

Array = np.ndarray[Any, Any]
COUNTS = arrays(np.int64, BINS, elements=st.integers(0, 1000)).filter(lambda row: row.sum() > 0)
LOGITS = st.floats(-200, 200, width=32)
ROWS = arrays(np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=LOGITS)
EDGES = arrays(np.float32, (BINS - 1, 3), elements=LOGITS).map(lambda edges: np.sort(edges, axis=0))


@given(ROWS, EDGES)
def test_histograms_count_every_score_once(rows: Array, edges: Array) -> None:
    naive = np.zeros((3, BINS), dtype=np.int64)
    for row in rows:
        for label, score in enumerate(row):
            naive[label, bisect.bisect_right(edges[:, label].tolist(), score)] += 1
    assert (histograms(rows, edges) == naive).all()


def test_tenths_are_equal_bins_of_probability() -> None:
    probabilities = (torch.arange(BINS) + 0.5) / BINS
    counts = histograms(probabilities.logit()[:, None].numpy(), TENTHS)
    assert counts.tolist() == [[1] * BINS]


def test_reference_histograms_have_equal_counts_of_saturated_scores() -> None:
    logits = np.random.default_rng(0).uniform(20, 30, (200, 2)).astype(np.float32)
    stored = json.loads(json.dumps(reference_histograms(["a", "b"], logits)))
    found = read_reference_histograms(["b", "a"], stored)
    assert found is not None
    edges, counts = found
    assert counts.tolist() == [[20] * BINS] * 2
    assert (histograms(logits[:, ::-1], edges) == counts).all()
    moved = population_stability_index(histograms(logits[:, ::-1] + 3, edges), counts)
    assert (moved > 0.25).all()


@given(COUNTS, COUNTS)
def test_stability_index_matches_its_definition(counts: Array, reference: Array) -> None:
    expected = 0.0
    for count, reference_count in zip(counts, reference, strict=True):
        p = max(count / counts.sum(), MIN_SHARE)
        q = max(reference_count / reference.sum(), MIN_SHARE)
        expected += (p - q) * math.log(p / q)
    assert population_stability_index(counts, reference) == pytest.approx(expected)
    assert population_stability_index(counts, counts * 3) == pytest.approx(0, abs=1e-12)
    assert population_stability_index(counts, reference) >= 0


def test_drift_of_no_images_is_nan() -> None:
    assert np.isnan(population_stability_index(np.zeros(BINS), np.ones(BINS)))


def samples(text: str, name: str) -> dict[str, float]:
    """Return a metric's samples by their labels as exported."""
    lines = re.findall(rf"^{name}((?:{{.*}})?) (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in lines}


def test_drift_is_reported_once_there_are_enough_images(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_statistics, "REPORT_INTERVAL_S", 0)
    labels = tiny_classifier.labels
    all_low = [100] + [0] * (BINS - 1)
    metrics = Metrics()
    card_metrics = {"score_histograms": dict.fromkeys(labels.ids, all_low)}
    statistics = ScoreStatistics(labels, card_metrics, metrics.scores)

    def add(probability: float, batches: int) -> str:
        logits = torch.full((100, len(labels.ids)), probability).logit()
        for _ in range(batches):
            statistics.add(logits)
        return metrics.render().decode()

    assert not samples(add(0.05, 4), "mumic_label_score_drift")
    alike = samples(add(0.05, 2), "mumic_label_score_drift")
    assert len(alike) == len(labels.ids)
    assert max(alike.values()) == pytest.approx(0, abs=1e-9)
    moved = add(0.95, 5)
    assert min(samples(moved, "mumic_label_score_drift").values()) > 0.25
    scores = samples(moved, "mumic_label_scores_total")
    for tenth, images in {"0.0": 600, "0.9": 500}.items():
        assert scores[f'{{label="{labels.ids[0]}",tenth="{tenth}"}}'] == images
    assert sum(scores.values()) == 1100 * len(labels.ids)
    assert set(samples(moved, "mumic_label_positives_total").values()) == {500}


def test_retired_statistics_report_counts_but_no_drift(
    tiny_classifier: Classifier,
) -> None:
    labels = tiny_classifier.labels
    metrics = Metrics()
    statistics = ScoreStatistics(
        labels, {"score_histograms": dict.fromkeys(labels.ids, [1] * BINS)}, metrics.scores
    )
    for images in (600, 20):
        statistics.add(torch.zeros(images, len(labels.ids)))
    assert samples(metrics.render().decode(), "mumic_label_score_drift")
    statistics.retire()
    for _ in range(2):
        statistics.add(torch.zeros(3, len(labels.ids)))
    text = metrics.render().decode()
    assert np.isnan(list(samples(text, "mumic_label_score_drift").values())).all()
    assert set(samples(text, "mumic_label_scores_total").values()) == {626}


def test_drift_of_saturated_scores_is_reported(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_statistics, "REPORT_INTERVAL_S", 0)
    ids, metrics = tiny_classifier.labels.ids, Metrics()
    draw = torch.Generator().manual_seed(0)
    validation = 25 + torch.randn(600, len(ids), generator=draw)
    assert (validation.sigmoid() == 1).all()
    card_metrics = {"score_histograms": reference_histograms(ids, validation.numpy())}
    statistics = ScoreStatistics(tiny_classifier.labels, card_metrics, metrics.scores)
    for shift, low, high in ((0, 0.0, 0.1), (3, 0.25, math.inf)):
        statistics.add(shift + 25 + torch.randn(600, len(ids), generator=draw))
        drift = samples(metrics.render().decode(), "mumic_label_score_drift").values()
        assert all(low <= value < high for value in drift)


@pytest.mark.parametrize("wrong", [{}, {"pool": [1]}, [1, 2], "x"])
def test_invalid_reference_is_logged_and_ignored(
    tiny_classifier: Classifier, wrong: object, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tiny_classifier.labels
    statistics = ScoreStatistics(labels, {"score_histograms": wrong}, Metrics().scores)
    assert "Score drift is not reported" in caplog.text
    statistics.add(torch.rand(8, len(labels.ids)))


def test_non_finite_scores_are_not_counted(tiny_classifier: Classifier) -> None:
    labels = tiny_classifier.labels
    metrics = Metrics()
    rows = torch.zeros(3, len(labels.ids))
    rows[1, 0] = torch.nan
    ScoreStatistics(labels, {}, metrics.scores).add(rows)
    scores = samples(metrics.render().decode(), "mumic_label_scores_total")
    assert set(scores.values()) == {2}


def test_label_without_threshold_has_no_positives() -> None:
    labels = LabelSet(
        version="1",
        labels=tuple(
            Label(
                id=id, name=id, description=id, category="Any", thresholds=Thresholds(serve=serve)
            )
            for id, serve in (("pool", 1.0), ("spa", None))
        ),
    )
    metrics = Metrics()
    ScoreStatistics(labels, {}, metrics.scores).add(torch.full((3, 2), 200.0))
    text = metrics.render().decode()
    positives = samples(text, "mumic_label_positives_total")
    assert positives == {'{label="pool"}': 3, '{label="spa"}': 0}
    assert sum(samples(text, "mumic_label_scores_total").values()) == 6


def test_requests_are_counted_and_health_checks_are_not(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_statistics, "REPORT_INTERVAL_S", 0)
    with (
        live_server(create_app(small_settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):

        def images() -> float:
            scores = samples(client.get("/metrics").text, "mumic_label_scores_total")
            return sum(scores.values()) / len(client.get("/labels").json()["labels"])

        def predict() -> None:
            assert client.post("/predict", **multipart(photo())).status_code == 200

        predict()
        before = images()
        for _ in range(3):
            assert client.get("/readyz").status_code == 200
            predict()
        predict()
        assert images() == before + 4
