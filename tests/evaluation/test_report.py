"""Contents of an evaluation report, from synthetic metrics."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from app.core.labels import Label, LabelSet, Thresholds
from app.evaluation.metrics import (
    Measures,
    ScoredClass,
    class_subsets,
    compute_measures,
    draw_bootstrap_samples,
)
from app.evaluation.report import Evaluation, table_to_markdown, table_to_text
from app.evaluation.report.embedding_map import PALETTE, category_of_photos, plot_embedding_map
from app.evaluation.report.evaluation_report import report_html, report_json, report_markdown
from app.evaluation.report.plots import BLUE, GREY, plot_average_precision, plot_one_photo
from app.evaluation.report.tables import class_table, few_photos_lines
from tests.support.photos import sample


def measures_of(classes: int, seed: int = 0, photos: int = 40) -> Measures:
    """Measure random predictions on random targets; the last class has no positive."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(-1, 2, (photos, classes)).astype(float)
    targets[:, -1] = np.minimum(targets[:, -1], 0)
    scored = [ScoredClass(f"a_class_called_{i}", f"{i % 3}", i, i) for i in range(classes)]
    return compute_measures(
        targets,
        draw.random((photos, classes)),
        scored,
        class_subsets(scored, top=2, chosen=()),
        k=10,
        draws=draw_bootstrap_samples(photos, resamples=20),
    )


def evaluation_of(measures: dict[str, Measures]) -> Evaluation:
    return Evaluation(measures, "photos.csv", "test", 40, 10, 20, [])


def test_undefined_values_are_null_and_listed() -> None:
    evaluation = evaluation_of({"mine": measures_of(3)})
    classes = report_json(evaluation)["checkpoints"]["mine"]["classes"]
    assert classes[2]["average_precision"] == {"value": None, "low": None, "high": None}
    assert classes[2]["known"] > 0
    report = report_markdown(evaluation, {})
    assert "not measured (1): a_class_called_2." in report
    assert "| a_class_called_2 |" not in report


def test_classes_are_sorted_best_first_with_difference() -> None:
    header, *rows = class_table({"mine": measures_of(9), "theirs": measures_of(9, seed=1)})
    values = [float(row[4].split()[0]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert header[-1] == "difference"
    for row in rows:
        one, two, difference = (float(cell.split()[0]) for cell in row[4:])
        assert difference == pytest.approx(one - two, abs=0.0011)


def test_perfect_class_has_no_interval_and_few_photos() -> None:
    targets = np.zeros((40, 2))
    targets[:9, 0] = targets[:10, 1] = 1
    logits = np.where(targets == 1, 1.0, 0.0)
    logits[:, 1] = np.random.default_rng(0).random(40)
    scored = [ScoredClass("rare", "Red", 0, 9), ScoredClass("often", "Blue", 1, 10)]
    subsets = class_subsets(scored, top=None, chosen=())
    draws = draw_bootstrap_samples(40, resamples=20)
    measures = compute_measures(targets, logits, scored, subsets, k=10, draws=draws)
    evaluation = evaluation_of({"mine": measures})

    found = report_json(evaluation)["checkpoints"]["mine"]
    rare, often = found["classes"]
    assert rare["average_precision"] == {"value": 1.0, "low": None, "high": None}
    assert often["average_precision"]["low"] < often["average_precision"]["high"]
    assert (rare["few_photos"], often["few_photos"]) == (True, False)
    assert [each["few_photos"] for each in found["subsets"]] == [1, 1, 0]
    report = report_markdown(evaluation, {})
    assert "| rare | Red | 9 (!) | 40 | 1.000 [-, -] | 1.000 |" in report
    assert "| often | Blue | 10 | 40 |" in report
    assert "(!): fewer than 10 positives or negatives for 1 of 2 classes" in report
    assert "1.000, 1.000]" not in report
    plot_average_precision({"mine": measures}).draw_without_rendering()


def test_label_without_threshold_is_not_marked_as_served(tmp_path: Path) -> None:
    sample("chelsea").save(tmp_path / "cat.png")
    labels = LabelSet(
        version="1",
        labels=tuple(
            Label(
                id=id, name=id, description=id, category="Any", thresholds=Thresholds(serve=serve)
            )
            for id, serve in (("served", 0.5), ("not_served", None))
        ),
    )
    logits = np.array([5.0, 6.0], np.float32)
    figure = plot_one_photo(tmp_path / "cat.png", {"mine": logits}, [labels])
    figure.draw_without_rendering()
    _, best_labels, all_labels = figure.axes
    colours = [to_hex(bar.get_facecolor()) for bar in best_labels.patches]
    assert colours == [GREY, BLUE.lower()]
    _, marked = all_labels.lines
    assert np.asarray(marked.get_xdata()).tolist() == [2]


def test_warning_names_ten_classes_at_most() -> None:
    measures = measures_of(14, photos=15)
    (line,) = few_photos_lines(measures, "test", limit=10)
    assert line.count("a_class_called_") == 10
    assert line.endswith(" and 3 more")
    (line,) = few_photos_lines(measures, "test")
    assert line.count("a_class_called_") == 13


def test_text_table_is_aligned() -> None:
    assert table_to_text([["", "GAP"], ["all", "0.5"], ["a few", "-"]]) == (
        "       GAP\nall    0.5\na few    -"
    )


def test_markup_in_names_is_escaped() -> None:
    page = report_html(table_to_markdown([["class", "AP"], ["<b>|x", "1"]]), "<i>")
    assert "<title>&lt;i&gt;</title>" in page
    assert "<td>&lt;b&gt;|x</td>" in page


def test_subsets_are_all_frequent_chosen_and_categories() -> None:
    classes = [
        ScoredClass("a", "Red", 0, 5),
        ScoredClass("b", "Blue", 1, 9),
        ScoredClass("c", "Red", 2, 9),
    ]
    found = {each.title: each.members for each in class_subsets(classes, top=2, chosen=["c", "a"])}
    assert found == {
        "all 3 classes": (0, 1, 2),
        "2 most frequent": (1, 2),
        "2 chosen": (0, 2),
        "Red": (0, 2),
        "Blue": (1,),
    }


def test_photo_has_category_of_rarest_class() -> None:
    classes = [ScoredClass("a", "Red", 0, 50), ScoredClass("b", "Blue", 1, 9)]
    targets = np.array([[1, 1], [1, 0], [-1, 1], [0, -1]])
    assert category_of_photos(targets, classes) == ["Blue", "Red", "Blue", None]


def test_more_categories_than_colours_differ_by_shape() -> None:
    count = 2 * len(PALETTE)
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    figure = plot_embedding_map({"mine": rows}, [str(i) for i in range(count)])
    assert figure
    looks = {
        tuple(
            np.asarray(value).tobytes()
            for value in (each.get_facecolor(), each.get_paths()[0].vertices)
        )
        for each in figure.axes[0].collections
    }
    assert len(looks) == count


@pytest.mark.parametrize("classes", [2, 121])
def test_plot_labels_do_not_overlap(classes: int) -> None:
    measures = {"mine 1.0.0": measures_of(classes), "theirs 1.0.0": measures_of(classes, seed=1)}
    figure = plot_average_precision(measures)
    figure.draw_without_rendering()
    shown = 0
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        shown += len(boxes)
        for above, below in pairwise(boxes):
            assert above.y0 >= below.y1
        assert all(box.x0 >= 0 and box.x1 <= axes.bbox.x0 for box in boxes)
    assert shown == classes - 1
    left, right = (axes.get_tightbbox() for axes in (figure.axes[0], figure.axes[-1]))
    assert left and right and (len(figure.axes) == 1 or left.x1 <= right.x0)
