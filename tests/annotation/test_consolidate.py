"""Votes become targets; a golden set selects the agreement threshold of each label."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from app.annotation.questions import VoteTally, read_votes
from app.annotation.targets import (
    ALL_LABELS,
    AgreementScore,
    add_parent_labels,
    agreement_threshold_steps,
    pick_agreement_threshold,
    score_agreement,
    targets_from_votes,
)
from app.dataset.manifest import (
    NameDefinition,
    names_from_labels,
    read_annotations,
    read_table,
    write_table,
)
from app.errors import DataError
from tests.support.annotation import (
    LABELS,
    VOTES,
    annotation,
    labels_by_file,
    write_crops,
    write_labels,
)
from tests.support.command import Run, mumic

NAMES = names_from_labels(LABELS)
STEPS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_crops(folder, 24)
    return folder


def test_votes_become_targets_at_60_percent_or_own_threshold() -> None:
    tallies = [
        VoteTally("a", "pool", 3, 5),
        VoteTally("a", "garden", 2, 5),
        VoteTally("b", "pool", 0, 3),
        VoteTally("c", "pool", 6, 10),
        VoteTally("c", "garden", 7, 12),
    ]
    assert labels_by_file(targets_from_votes(tallies, {})) == {
        "a": ("pool", "garden"),
        "b": ("", "pool"),
        "c": ("pool", "garden"),
    }
    assert labels_by_file(targets_from_votes(tallies, {"garden": 0.4}))["a"] == ("garden|pool", "")


def test_parents_of_positive_label_override_votes() -> None:
    targets = [
        annotation("a", ["suite"], ["bedroom", "pool"]),
        annotation("b", ["room"], ["suite"]),
        annotation("c", [], ["room"]),
    ]
    assert labels_by_file(add_parent_labels(targets, NAMES, LABELS)) == {
        "a": ("bedroom|room|suite", "pool"),
        "b": ("room", "suite"),
        "c": ("", "room"),
    }


def test_parents_of_names_are_limited_to_names() -> None:
    names = {
        "sleep": NameDefinition(text="place to sleep", label=None, implies=("bedroom",)),
        "chamber": NameDefinition(text="chamber", label="room"),
    }
    marked = add_parent_labels([annotation("a", ["sleep"], ["chamber"])], names, LABELS)
    assert labels_by_file(marked) == {"a": ("chamber|sleep", "")}


PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40)


@settings(max_examples=25)
@given(pairs=PAIRS)
def test_agreement_scores_equal_scikit_learn(pairs: list[tuple[bool, int]]) -> None:
    tallies = [VoteTally(str(i), "pool", votes, 5) for i, (_, votes) in enumerate(pairs)]
    golden = [
        annotation(str(i), ["pool"] * truth, ["pool"] * (not truth))
        for i, (truth, _) in enumerate(pairs)
    ]
    truth = [truth for truth, _ in pairs]
    grades = score_agreement(tallies, golden, STEPS)
    assert grades.keys() == {ALL_LABELS, "pool"}
    for each, of_all in zip(grades["pool"], grades[ALL_LABELS], strict=True):
        predicted = [votes / 5 >= each.threshold for _, votes in pairs]
        if any(predicted):
            assert each.precision == precision_score(truth, predicted)
        else:
            assert math.isnan(each.precision)
        if any(truth):
            assert each.recall == recall_score(truth, predicted)
            assert each.f1 == pytest.approx(f1_score(truth, predicted))
        else:
            assert math.isnan(each.recall)
        assert each.true_positives == of_all.true_positives
        assert each.false_positives == of_all.false_positives


@given(pairs=PAIRS, least=st.integers(1, 10))
def test_picked_threshold_has_best_f1(pairs: list[tuple[bool, int]], least: int) -> None:
    tallies = [VoteTally(str(i), "pool", votes, 5) for i, (_, votes) in enumerate(pairs)]
    golden = [
        annotation(str(i), ["pool"] * truth, ["pool"] * (not truth))
        for i, (truth, _) in enumerate(pairs)
    ]
    grades = score_agreement(tallies, golden, STEPS)["pool"]
    picked = pick_agreement_threshold(grades, least)
    positives = sum(truth for truth, _ in pairs)
    if min(positives, len(pairs) - positives) < least:
        assert picked == 0.6
    else:
        best = next(each.f1 for each in grades if each.threshold == picked)
        assert best == max(each.f1 for each in grades)


def test_tied_thresholds_pick_closest_to_default() -> None:
    graded = [AgreementScore("pool", step, true_positives=20, true_negatives=20) for step in STEPS]
    assert pick_agreement_threshold(graded, 10) == 0.6
    assert pick_agreement_threshold([graded[1], graded[3]], 10) == 0.8


def test_pairs_outside_golden_set_are_not_scored() -> None:
    golden = [annotation("a", ["pool"], [])]
    tallies = [
        VoteTally("a", "garden", 5, 5),
        VoteTally("b", "pool", 5, 5),
        VoteTally("a", "pool", 4, 5),
    ]
    grades = score_agreement(tallies, golden, [0.6])
    assert grades == {
        ALL_LABELS: [AgreementScore(ALL_LABELS, 0.6, true_positives=1)],
        "pool": [AgreementScore("pool", 0.6, true_positives=1)],
    }


def test_threshold_steps_are_possible_vote_shares() -> None:
    assert agreement_threshold_steps(
        [VoteTally("a", "pool", 1, 4), VoteTally("b", "pool", 1, 2)]
    ) == [*(0.25, 0.5, 0.6, 0.75, 1.0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("00.png,pool,6,5\n", "row 2, column votes: 6 votes of 5 annotators"),
        ("00.png,pool,1,5\n00.png,poll,1,5\n", "row 3, column label: .*'poll'; nearest.*: pool"),
        ("99.png,pool,1,5\n", "row 2, column file: no photo .*99.png"),
        (",pool,1,5\n", "row 2, column file: is empty"),
        ("/etc/hosts,pool,1,5\n", "row 2, column file: /etc/hosts is not below the photo folder"),
        ("a/../../x.png,pool,1,5\n", "row 2, column file: a/../../x.png is not below the photo"),
        ("00.png,pool,-1,5\n", "row 2, column votes: '-1' should be a whole number"),
        ("00.png,pool,1,5.5\n", "row 2, column annotators: '5.5' should be a whole number"),
        ("00.png,pool,,5\n", "row 2, column votes: '' should be a whole number"),
        ("00.png,pool,0,0\n", "row 2, column annotators: is 0"),
        ("", "is empty"),
        ("00.png,pool,1,5\n00.png,pool,2,5\n", "rows 2 and 3 are both of 00.png and pool"),
    ],
)
def test_invalid_votes_are_refused_with_row_and_column(
    tmp_path: Path, photos: Path, rows: str, message: str
) -> None:
    (tmp_path / "votes.csv").write_text(VOTES + rows)
    with pytest.raises(DataError, match=rf"votes\.csv: {message}"):
        read_votes(tmp_path / "votes.csv", photos, NAMES)


def test_duplicate_vote_row_counts_once(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "votes.csv").write_text(VOTES + "00.png,pool,1,5\n" * 2)
    assert len(read_votes(tmp_path / "votes.csv", photos, NAMES)) == 1


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_consolidate_command_picks_thresholds_and_writes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    ending: str,
) -> None:
    """Gardens are overreported: three of five votes in photos without one, four in those with."""
    files = [f"{i:02d}.png" for i in range(24)]
    votes = [[f, "garden", "4" if i < 12 else "3", "5"] for i, f in enumerate(files)]
    votes += [[f, "suite", "5" if i < 2 else "0", "5"] for i, f in enumerate(files)]
    write_table(tmp_path / f"votes.{ending}", ("file", "label", "votes", "annotators"), votes)
    golden = [
        [f, "garden" if i < 12 else "", "" if i < 12 else "garden"] for i, f in enumerate(files)
    ]
    write_table(tmp_path / f"golden.{ending}", ("file", "positive", "negative"), golden)

    def run(*more: str | Path) -> Run:
        return mumic(
            *(monkeypatch, capsys, "data", "consolidate", "--photos", photos),
            *("--votes", tmp_path / f"votes.{ending}", "--out", tmp_path / f"targets.{ending}"),
            *("--labels", write_labels(tmp_path), *more),
        )

    ran = run("--golden", tmp_path / f"golden.{ending}", "--report", tmp_path / f"report.{ending}")
    assert ran.code == 0, ran.err
    row = next(line for line in ran.out.splitlines() if line.startswith("garden"))
    assert row.split() == [
        *("garden", "12", "12", "0.500", "1.000", "0.500", "1.000", "0.500", "1.000"),
        *("1.000", "1.000*", "-", "0.000"),
    ]
    targets = read_annotations(tmp_path / f"targets.{ending}", photos, NAMES)
    assert labels_by_file(targets)["00.png"] == ("bedroom|garden|room|suite", "")
    assert labels_by_file(targets)["11.png"] == ("garden", "suite")
    assert labels_by_file(targets)["12.png"] == ("", "garden|suite")
    report = list(read_table(tmp_path / f"report.{ending}", ("label", "threshold", "picked")))
    assert [each["threshold"] for each in report if each["picked"] == "yes"] == ["0.8"]

    assert run().out == ""  # without a golden set, all labels use the default threshold
    targets = read_annotations(tmp_path / f"targets.{ending}", photos, NAMES)
    assert labels_by_file(targets)["12.png"] == ("garden", "suite")


def test_label_without_positive_photo_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
) -> None:
    (tmp_path / "votes.csv").write_text(VOTES + "00.png,pool,0,5\n00.png,garden,5,5\n")
    ran = mumic(
        *(monkeypatch, capsys, "data", "consolidate", "--votes", tmp_path / "votes.csv"),
        *("--photos", photos, "--out", tmp_path / "t.csv", "--labels", write_labels(tmp_path)),
    )
    assert ran.code == 0
    assert "no positive photo: pool" in ran.err


def test_output_over_input_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
) -> None:
    votes, golden = tmp_path / "votes.csv", tmp_path / "golden.csv"
    votes.write_text(VOTES + "00.png,pool,0,5\n")
    golden.write_text("file,positive,negative\n01.png,pool,\n")
    labels = write_labels(tmp_path)
    given: list[str | Path] = ["--votes", votes, "--photos", photos, "--labels", labels]
    cases: list[tuple[list[str | Path], str]] = [
        (["--out", tmp_path / "." / "votes.csv"], "is --votes, which would be lost"),
        (
            ["--golden", golden, "--out", tmp_path / "t.csv", "--report", tmp_path / "t.csv"],
            "is --out, which would be lost",
        ),
        (["--out", tmp_path / "t.csv", "--report", tmp_path / "r.csv"], "report: .* give --golden"),
        (
            ["--golden", golden, "--out", tmp_path / "t.csv"],
            "none of its photos and labels has a vote",
        ),
    ]
    for more, message in cases:
        ran = mumic(monkeypatch, capsys, "data", "consolidate", *given, *more)
        assert ran.code in (1, 2)
        assert re.search(message, ran.err)
    assert votes.read_text().startswith(VOTES)
    assert not (tmp_path / "t.csv").exists()
