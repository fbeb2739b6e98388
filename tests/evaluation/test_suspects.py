"""Likely label errors, near-duplicates and photos that no label fits, and `mumic data suspects`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from rich.progress import Progress

from app.core.checkpoint import Checkpoint
from app.core.labels import Label, LabelSet
from app.dataset.embeddings import write_embeddings
from app.dataset.manifest import NameDefinition, Split, read_table
from app.evaluation.suspects.label_errors import (
    LabelError,
    LabelThresholds,
    find_label_errors,
    label_thresholds,
    out_of_fold_probabilities,
)
from app.evaluation.suspects.near_duplicates import (
    NearDuplicates,
    duplicate_groups,
    nearest_pairs,
    picture_correlations,
)
from app.evaluation.suspects.suspects import (
    COLUMNS,
    JudgedPhotos,
    Suspect,
    find_suspects,
    implied_labels,
)
from tests.support.command import Run, mumic
from tests.support.photos import sample
from tests.support.training_set import HEADER

NAN = np.nan


def predicted(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    groups: Sequence[int] | None = None,
    *,
    min_positives: int = 5,
) -> NDArray[np.float64]:
    """Predict out of fold, each photo a group of its own by default."""
    with Progress(disable=True) as progress:
        return out_of_fold_probabilities(
            features,
            targets,
            range(len(features)) if groups is None else groups,
            folds=4,
            min_positives=min_positives,
            seed=0,
            progress=progress,
        )


def separable(photos: int = 200) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw features and one label that the first feature decides."""
    features = np.random.default_rng(0).normal(size=(photos, 4)).astype(np.float32)
    return features, (features[:, :1] > 0).astype(np.float32)


def test_planted_label_errors_are_ranked_first() -> None:
    features, targets = separable()
    order = np.argsort(features[:, 0])
    wrong = {int(order[5]), int(order[20]), int(order[-5]), int(order[-20])}
    targets[list(wrong)] = 1 - targets[list(wrong)]
    probabilities = predicted(features, targets)
    errors = find_label_errors(targets, probabilities, label_thresholds(targets, probabilities))
    assert {error.photo for error in errors[:4]} == wrong
    assert all(error.present == targets[error.photo, 0] for error in errors)
    scores = [error.score for error in errors]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_near_duplicates_do_not_judge_each_other() -> None:
    features, targets = separable()
    features[:40], targets[:40] = np.array([3, 9, 0, 0], dtype=np.float32), 0  # all wrong
    alone = predicted(features, targets)
    grouped = predicted(features, targets, [0] * 40 + list(range(40, 200)))
    assert alone[0, 0] < 0.5 < grouped[0, 0]


def test_unknown_targets_are_not_fitted_but_predicted() -> None:
    features, targets = separable()
    known = predicted(features, targets)
    others = np.concatenate([targets, targets])
    others[200:] = -1
    doubled = predicted(np.concatenate([features, -features]), others)
    assert np.corrcoef(doubled[:200, 0], known[:, 0])[0, 1] > 0.9
    assert np.corrcoef(doubled[200:, 0], known[:, 0])[0, 1] < -0.9


@pytest.mark.parametrize("value", [0, 1])
def test_label_with_few_photos_of_a_value_is_not_predicted(value: int) -> None:
    features, targets = separable()
    targets = np.concatenate([targets, np.full_like(targets, 1 - value)], axis=1)
    targets[:4, 1] = value
    probabilities = predicted(features, targets)
    assert not np.isnan(probabilities[:, 0]).any()
    assert np.isnan(probabilities[:, 1]).all()


def test_label_with_all_positives_in_one_group_is_not_predicted() -> None:
    features, targets = separable()
    targets[:] = 0
    targets[:20] = 1
    assert np.isnan(predicted(features, targets, [0] * 20 + list(range(20, 200)))).all()


def test_thresholds_are_mean_self_confidence() -> None:
    targets = np.array([[1, 1], [1, 1], [0, 0], [-1, 0]], dtype=np.float32)
    probabilities = np.array([[0.9, 0.2], [0.7, 0.3], [0.1, 0.4], [0.8, 0.6]])
    thresholds = label_thresholds(targets, probabilities)
    np.testing.assert_allclose(thresholds.present, [0.8, NAN])  # the second: no separation
    np.testing.assert_allclose(thresholds.absent, [0.9, NAN])


def test_only_contradicted_known_values_are_errors() -> None:
    targets = np.array([[1], [1], [0], [0], [-1]], dtype=np.float32)
    probabilities = np.array([[0.1], [0.3], [0.85], [0.7], [0.99]])
    found = find_label_errors(
        targets, probabilities, LabelThresholds(np.array([0.8]), np.array([0.9]))
    )
    assert [(error.photo, error.present) for error in found] == [(2, False), (0, True)]
    assert [error.score for error in found] == pytest.approx([0.75, 0.7])


def correlations(first: Image.Image, *others: Image.Image) -> list[float]:
    """Return the correlation of a photo's grey copy with those of others."""
    grey = [np.asarray(image.convert("L").resize((32, 32))) for image in (first, *others)]
    copies = torch.tensor(np.stack(grey), dtype=torch.float32)
    pairs = torch.tensor([(0, i) for i in range(1, len(copies))])
    return list(picture_correlations(copies, pairs).tolist())


def test_changed_copies_correlate_and_other_photos_do_not() -> None:
    cat = sample("chelsea")
    copies = [
        cat.resize((100, 80)),
        cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        ImageEnhance.Brightness(cat).enhance(0.6),
    ]
    *of_copies, of_other = correlations(cat, *copies, sample("coffee"))
    assert min(of_copies) > 0.97
    assert of_other < 0.6


def test_photos_without_structure_do_not_correlate() -> None:
    white = Image.new("RGB", (40, 40), "white")
    assert correlations(white, white, sample("chelsea")) == [0, 0]


def test_nearest_pairs_are_unordered_and_distinct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.evaluation.suspects.near_duplicates.NEIGHBOURS", 1)
    monkeypatch.setattr("app.evaluation.suspects.near_duplicates.BLOCK", 2)
    angles = torch.tensor([0.0, 1.5, 0.1, 1.4, 0.15])
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert nearest_pairs(rows).tolist() == [[0, 2], [1, 3], [2, 4]]


def test_duplicates_of_duplicates_are_one_group() -> None:
    pairs = [NearDuplicates(1, 4, 1.0), NearDuplicates(3, 4, 1.0), NearDuplicates(0, 2, 1.0)]
    assert duplicate_groups(6, pairs) == [0, 1, 0, 1, 1, 5]


LABELS = LabelSet(
    version="1",
    labels=(
        Label(id="animal", name="Animal", description="a", category="A"),
        Label(id="dog", name="Dog", description="d", category="A", parents=("animal",)),
        Label(id="pool", name="Pool", description="p", category="B"),
    ),
)


def judged(
    targets: Sequence[Sequence[float]],
    fits: Sequence[Sequence[float]],
    splits: Sequence[Split] | None = None,
) -> JudgedPhotos:
    """Build photos with the labels animal, dog and pool."""
    return JudgedPhotos(
        files=[f"{i}.jpg" for i in range(len(targets))],
        splits=splits or ["train"] * len(targets),
        labels=("animal", "dog", "pool"),
        ancestors=({}, {0}, {}),
        targets=np.array(targets, dtype=np.float32),
        fits=np.array(fits, dtype=np.float64),
    )


def test_implied_names_follow_label_definitions() -> None:
    names = {
        "poodle": NameDefinition(text="poodle", label=None, implies=("dog",)),
        "dog": NameDefinition(text="dog", label="dog"),
        "beast": NameDefinition(text="beast", label="animal"),
        "hound": NameDefinition(text="hound", label="dog"),
    }
    assert implied_labels(names, LABELS) == [{1, 2}, {2}, set(), {1, 2}]


def test_error_of_parent_that_follows_from_child_is_left_out() -> None:
    photos = judged([[1, 1, 0], [0, 0, 1]], [[0.2, 0.0, 1.5], [1.1, 0.0, 1.0]])
    errors = [
        LabelError(0, 1, True, 0.9),
        LabelError(0, 0, True, 0.8),
        LabelError(1, 0, False, 0.7),
    ]
    found = find_suspects(photos, errors, [])
    assert found == [
        Suspect("label", "0.jpg", "train", "dog", "present", 0.9, suggested=("pool",)),
        Suspect("label", "1.jpg", "train", "animal", "absent", 0.7, suggested=("animal",)),
    ]


def test_duplicates_are_suspects_only_across_splits_and_once() -> None:
    photos = judged(
        [[0, 0, 1]] * 4, [[1.0, 1.0, 1.0]] * 4, ["test", "train", "train", "validation"]
    )
    pairs = [
        NearDuplicates(1, 2, 1.0),
        NearDuplicates(0, 1, 0.95),
        NearDuplicates(1, 3, 0.99),
        NearDuplicates(0, 3, 0.98),
    ]
    assert find_suspects(photos, [], pairs) == [
        Suspect(
            *("duplicate", "1.jpg", "train", "", "", 0.99),
            other_file="3.jpg",
            suggested=("validation",),
        ),
        Suspect(
            *("duplicate", "3.jpg", "validation", "", "", 0.98),
            other_file="0.jpg",
            suggested=("test",),
        ),
    ]


def test_photo_that_no_label_fits_is_one_suspect() -> None:
    photos = judged(
        [[1, 1, -1], [0, 0, 1], [1, 1, 0]],
        [[0.05, 0.01, 0.02], [0.05, 0.0, NAN], [0.05, 0.4, 0.0]],
    )
    errors = [LabelError(0, 1, True, 0.9)]
    (found,) = find_suspects(photos, errors, [])  # the second has a label that is not judged
    assert (found.kind, found.file) == ("no_label", "0.jpg")
    assert (found.label, found.given) == ("dog", "present")
    assert found.score == pytest.approx(0.95)


class Suspects:
    """`mumic data suspects` on small crops of two photos, with known suspects among them.

    The cats are 00 to 11, the flowers 12 to 23. Photo 05 is a flower by its label, 17 a copy of 12
    in another split.
    """

    def __init__(
        self,
        folder: Path,
        init: Checkpoint,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._fixtures = (monkeypatch, capsys)
        self._init = init
        self.photos, self.out = folder / "photos", folder / "out"
        self.photos.mkdir()
        self.files = [f"{i:02d}.png" for i in range(24)]
        rows = []
        draw = torch.Generator().manual_seed(0)
        embeddings = 0.1 * torch.randn(24, 8, generator=draw)
        for i, file in enumerate(self.files):
            step = i % 12
            photo = sample("chelsea" if i < 12 else "flower")
            photo.crop((20 * step, 10 * step, 20 * step + 90, 10 * step + 70)).save(
                self.photos / file
            )
            embeddings[i, i // 12] += 1
            cat = i < 12 and i != 5
            split = "test" if i == 17 else "validation" if i % 12 == 3 else "train"
            rows.append(f"{file},{split},{'pets,flowers' if cat else 'flowers,pets'}\n")
        shutil.copy(self.photos / "12.png", self.photos / "17.png")
        embeddings[17] = embeddings[12]
        (folder / "manifest.csv").write_text(HEADER + "".join(rows))
        self.manifest = folder / "manifest.csv"
        self.embeddings = folder / "given.safetensors"
        rows_of_length_1 = embeddings / embeddings.norm(dim=1, keepdim=True)
        write_embeddings(self.embeddings, self.files, rows_of_length_1)

    def __call__(self, *more: str | Path) -> Run:
        return mumic(
            *(*self._fixtures, "data", "suspects", "--manifest", self.manifest),
            *("--photos", self.photos, "--checkpoint", self._init.directory),
            *("--out", self.out, "--device", "cpu", *more),
        )

    @property
    def rows(self) -> list[dict[str, str]]:
        return [dict(row.cells) for row in read_table(self.out / "suspects.csv", COLUMNS)]


@pytest.fixture
def suspects(
    tmp_path: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Suspects:
    return Suspects(tmp_path, init, monkeypatch, capsys)


def test_suspects_command_finds_planted_suspects(suspects: Suspects) -> None:
    ran = suspects("--embeddings", suspects.embeddings, "--min-positives", "5")
    assert ran.code == 0, ran.err
    duplicates = [row for row in suspects.rows if row["kind"] == "duplicate"]
    assert [(row["file"], row["other_file"], row["suggested"]) for row in duplicates] == [
        ("12.png", "17.png", "test")
    ]
    labels = [row for row in suspects.rows if row["kind"] == "label"]
    assert {(row["file"], row["label"], row["given"]) for row in labels[:2]} == {
        ("05.png", "flowers", "present"),
        ("05.png", "pets", "absent"),
    }
    assert [row["rank"] for row in suspects.rows] == [str(i + 1) for i in range(len(suspects.rows))]
    assert "duplicate        1" in ran.out
    assert "or scores that do not separate them: nature\n" in ran.err  # has no negative
    page = (suspects.out / "suspects.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(suspects.rows) + 1
    assert "flowers: given as present<br>fits: pets" in page
    first = (suspects.out / "suspects.csv").read_bytes()
    suspects("--embeddings", suspects.embeddings, "--min-positives", "5", "--sheet", "1")
    assert (suspects.out / "suspects.csv").read_bytes() == first
    assert (suspects.out / "suspects.html").read_text().count("<figure>") == 1


def test_computed_embeddings_are_cached(
    suspects: Suspects, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = suspects()
    assert ran.code == 0, ran.err
    first = (suspects.out / "suspects.csv").read_bytes()
    embedded: list[int] = []

    def embed(_: object, __: object, paths: Sequence[Path], **___: object) -> torch.Tensor:
        embedded.append(len(paths))
        return torch.eye(len(paths))

    monkeypatch.setattr("app.evaluation.suspects.run.embed_photos", embed)
    suspects()
    assert (embedded, (suspects.out / "suspects.csv").read_bytes()) == ([], first)
    sample("coffee").crop((0, 0, 64, 64)).save(suspects.photos / "00.png")
    suspects()
    assert embedded == [24]


def test_photo_without_embedding_is_refused(suspects: Suspects) -> None:
    write_embeddings(suspects.embeddings, suspects.files[1:], torch.eye(23))
    ran = suspects("--embeddings", suspects.embeddings)
    assert ran.code == 1
    assert "no embedding of 00.png (1 such photos)" in ran.err


def test_labels_that_cannot_be_judged_are_reported(suspects: Suspects) -> None:
    ran = suspects("--embeddings", suspects.embeddings, "--min-positives", "13")
    assert ran.code == 0
    assert "not judged, with fewer than 13 known positives or negatives" in ran.err
    assert "pets" in ran.err
    assert {row["kind"] for row in suspects.rows} == {"duplicate"}


def test_fewer_photos_than_folds_are_refused(suspects: Suspects) -> None:
    ran = suspects("--embeddings", suspects.embeddings, "--folds", "24")
    assert ran.code == 1
    assert "23 different photos are fewer than the 24 folds" in ran.err


def test_output_folder_that_cannot_be_created_is_refused(suspects: Suspects) -> None:
    suspects.out.write_text("a file")
    ran = suspects("--embeddings", suspects.embeddings)
    assert ran.code == 2
    assert "out: " in ran.err
    assert "cannot be created" in ran.err
