"""Targets from a manifest, and the errors of invalid manifests."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from app.dataset.labelled import check_trainable, duplicates_across_splits, load_labelled_photos
from app.dataset.labelled.soft_targets import write_soft_targets
from app.dataset.manifest import NameDefinition, TableColumns
from app.errors import DataError, OptionError
from tests.support.training_set import LABELS, data_of, known, write_photos


def test_name_sets_text_label_implied_and_ancestor_targets(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos)
    assert known(data, "cat.png") == {
        **{"cat": 1.0, "pets": 1.0, "dog": 0.0},
        **{"flowers": 0.0, "pagoda": 0.0, "temple": 0.0},
    }
    assert known(data, "coffee.png") == {"cat": 0.0, "dog": 1.0, "pets": 1.0}
    assert known(data, "china2.png") == {"cat": 0.0, "flowers": 0.0}
    assert known(data, "flower.png") == {
        **{"flowers": 1.0, "nature": 1.0},
        **{"cat": 0.0, "dog": 0.0, "pets": 0.0},
    }
    weights = dict(zip(data.texts, data.positive_weights.tolist(), strict=True))
    assert weights["a photo with pets"] == 3.0
    assert weights["a photo with cat"] == 10.0
    assert data.warnings == ("column part: no photo in the split test",)


def test_manifest_without_names_uses_label_ids(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, "cat.png,train,pets,temple\n", names=None)
    assert known(data, "cat.png") == {"pets": 1.0, "temple": 0.0}


def test_left_out_name_has_no_training_targets(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, leave_out=["cat", "flower"])
    assert known(data, "cat.png") == {"dog": 0.0, "pagoda": 0.0, "temple": 0.0}
    assert known(data, "coffee.png") == {"dog": 1.0, "pets": 1.0}
    assert known(data, "flower.png") == {"dog": 0.0}
    assert known(data, "cat2.png") == {"cat": 1.0, "pets": 1.0, "flowers": 0.0}


def test_soft_targets_are_matched_by_file_and_text(tmp_path: Path, photos: Path) -> None:
    file = tmp_path / "soft.safetensors"
    texts = ["a photo with Cat", "a photo with espresso"]
    soft = torch.tensor([[0.25, 0.75], [-1.0, 0.5]])
    write_soft_targets(file, ["coffee.png", "cat.png"], texts, soft)
    data = data_of(tmp_path, photos, soft_targets=file, leave_out=["cat"])
    column = data.texts.index("a photo with espresso")
    assert data.soft_targets[data.files.index("coffee.png"), column] == 0.75
    assert data.soft_targets[data.files.index("cat.png"), column] == 0.5
    assert data.soft_targets[data.files.index("coffee.png"), data.classes["cat"]] == 0.25
    assert (data.soft_targets[data.files.index("china.png")] == -1).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("dog.png,train,cat,\n", "row 2, column file: no photo"),
        ("cat.png,train,cta,\n", "row 2, column positive: unknown name 'cta'; nearest known: cat"),
        ("cat.png,train,cat,cat\n", "row 2, columns positive and negative: both hold cat"),
        ("cat.png,training,cat,\n", "row 2, column part: 'training' is not one of"),
        (",train,cat,\n", "row 2, column file: is empty"),
        ("", "has a header but no rows"),
        ("cat.png,test,cat,\n", "no photo is in the split train"),
        (
            "cat.png,train,cat,\ncat.png,test,cat,\n",
            "rows 2 and 3 are both of cat.png, column part",
        ),
        ("cat.png,train,cat,\ncat.png,train,,cat\n", "rows 2 and 3 .* disagree on cat"),
    ],
)
def test_invalid_manifest_is_refused_with_row_and_column(
    tmp_path: Path, photos: Path, rows: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        data_of(tmp_path, photos, rows)


def test_unknown_names_are_reported_together_with_remedy(tmp_path: Path, photos: Path) -> None:
    names = "|".join(f"label{i:02d}" for i in range(12))
    with pytest.raises(DataError) as caught:
        data_of(tmp_path, photos, f"cat.png,train,{names},\n")
    message = str(caught.value)
    assert "12 unknown names: " in message
    assert ("label09" in message, "label10" in message) == (True, False)
    assert message.endswith(
        "and 2 more; names are ids of the label set, unless --names FILE defines them. "
        "To use other labels, make a checkpoint that has them: "
        "mumic import CHECKPOINT --labels labels.yaml --out DIR"
    )


def test_manifest_without_column_is_refused(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,part\n")
    with pytest.raises(DataError, match="no column positive; needs file, part, positive"):
        load_labelled_photos(tmp_path / "manifest.csv", photos, LABELS)


def test_given_negative_column_is_required(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,part,positive\ncat.png,train,pets\n")
    manifest, columns = tmp_path / "manifest.csv", TableColumns(negative="absent")
    with pytest.raises(DataError, match=r"no column absent; .*--negative-column names the column"):
        load_labelled_photos(manifest, photos, LABELS, columns=columns)
    assert len(load_labelled_photos(manifest, photos, LABELS).files) == 1


def test_consistent_rows_of_one_photo_are_merged(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, "cat.png,train,cat,\ncat.png,train,,dog\n")
    assert data.files == ("cat.png",)
    assert known(data, "cat.png") == {"cat": 1.0, "dog": 0.0, "pets": 1.0}


def test_paths_of_one_photo_are_normalised(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,cat,\n./cat.png,test,,dog\n"
    with pytest.raises(DataError, match=r"rows 2 and 3 .*column part: train and test disagree"):
        data_of(tmp_path, photos, rows)


def test_too_long_file_name_is_missing_photo(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match=r"row 2, column file: no photo"):
        data_of(tmp_path, photos, f"{'a' * 300}.png,train,cat,\n")


def test_parent_of_positive_label_gives_no_warning(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, "flower.png,train,flowers,\n", names=None)
    assert "2 of 4 labels have no positive photo in the split train" in data.warnings[0]
    assert data.warnings[0].endswith(": pets, temple")


def test_absent_parent_makes_descendants_absent(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,pets,nature\nflower.png,train,flowers,\n"
    data = data_of(tmp_path, photos, rows, names=None)
    assert known(data, "cat.png") == {"pets": 1.0, "nature": 0.0, "flowers": 0.0}
    left_out = data_of(tmp_path, photos, rows, names=None, leave_out=["flowers"])
    assert known(left_out, "cat.png") == {"pets": 1.0, "nature": 0.0}


def test_absent_parent_leaves_label_without_positives_unknown(tmp_path: Path, photos: Path) -> None:
    rows = (
        "cat.png,train,pets,nature\nflower.png,validation,flowers,\nchina.png,validation,,nature\n"
    )
    data = data_of(tmp_path, photos, rows, names=None)
    assert known(data, "cat.png") == {"pets": 1.0, "nature": 0.0}
    assert known(data, "china.png") == {"nature": 0.0, "flowers": 0.0}


def test_absent_parent_of_positive_label_is_reported(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,pets,\nflower.png,train,flowers,nature\n"
    data = data_of(tmp_path, photos, rows, names=None)
    assert known(data, "flower.png") == {"flowers": 1.0, "nature": 1.0}
    (warning,) = (each for each in data.warnings if each.startswith("column negative"))
    assert warning.startswith("column negative: 1 photos have a label in it that a positive label")
    assert warning.endswith("it counts as positive: row 3 (nature)")


def test_unknown_left_out_name_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(OptionError, match="unknown name 'cow'"):
        data_of(tmp_path, photos, leave_out=["cow"])


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_unreadable_soft_targets_are_refused(tmp_path: Path, photos: Path, content: bytes) -> None:
    (tmp_path / "soft.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="is not a soft targets file"):
        data_of(tmp_path, photos, soft_targets=tmp_path / "soft.safetensors")


def test_soft_targets_out_of_range_are_refused(tmp_path: Path, photos: Path) -> None:
    write_soft_targets(tmp_path / "s", ["cat.png"], ["a photo with cat"], torch.tensor([[1.5]]))
    with pytest.raises(DataError, match=r"must be in \[0, 1\]"):
        data_of(tmp_path, photos, soft_targets=tmp_path / "s")


TWO_NAMES = "cat2.png,validation,n00,n01\n"
VALIDATION = "cat2.png,validation,cat,\nflower2.png,validation,,cat\n"


def test_class_with_only_negatives_is_refused(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,cat,dog|flower\nchina.png,train,pagoda,cat\n" + VALIDATION
    data = data_of(tmp_path, photos, rows)
    assert "2 of 4 labels have no positive photo in the split train" in data.warnings[0]
    assert data.warnings[0].endswith(": dog, flower")
    with pytest.raises(DataError, match=r"csv: column positive: .* for dog, flower; add") as e:
        check_trainable(data, tmp_path / "manifest.csv")
    options = re.findall(r"--leave-out (\w+)", str(e.value))
    check_trainable(data_of(tmp_path, photos, rows, leave_out=options), tmp_path)
    soft = torch.tensor([[0.9, 0.8]])
    texts = ["a photo with dog", "a photo with flowers"]
    write_soft_targets(tmp_path / "soft", ["china.png"], texts, soft)
    check_trainable(data_of(tmp_path, photos, rows, soft_targets=tmp_path / "soft"), tmp_path)


def test_class_without_known_photos_is_allowed(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,cat,\nflower.png,train,,cat\n" + VALIDATION
    check_trainable(data_of(tmp_path, photos, rows), tmp_path)


def test_manifest_without_validation_photos_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match="column part: no photo is in the split validation"):
        check_trainable(data_of(tmp_path, photos, "cat.png,train,cat,\n"), tmp_path)


def test_photo_in_two_splits_is_reported(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    assert duplicates_across_splits(data_of(tmp_path, photos)) == []
    shutil.copy(photos / "cat.png", photos / "cat2.png")
    (warning,) = duplicates_across_splits(data_of(tmp_path, photos))
    assert "1 photos are in several splits" in warning
    assert "cat.png (train) and cat2.png (validation)" in warning
    shutil.copy(photos / "china.png", photos / "china2.png")  # both in the split train
    assert duplicates_across_splits(data_of(tmp_path, photos)) == [warning]


def test_long_list_of_labels_in_message_is_shortened(tmp_path: Path, photos: Path) -> None:
    names = {f"n{i:02}": NameDefinition(text=f"n{i:02}", label=None) for i in range(12)}
    others = "|".join(sorted(names)[1:])
    data = data_of(tmp_path, photos, f"cat.png,train,n00,{others}\n", names=names)
    shown = ", ".join(sorted(names)[1:11])
    assert data.warnings[0].startswith("column positive: 11 of 12 labels have no positive photo")
    assert data.warnings[0].endswith(f": {shown} and 1 more")
    validated = data_of(tmp_path, photos, f"cat.png,train,n00,{others}\n{TWO_NAMES}", names=names)
    with pytest.raises(DataError, match=f"only negative photos for {shown} and 1 more;") as error:
        check_trainable(validated, tmp_path / "manifest.csv")
    assert str(error.value).endswith("--leave-out NAME for each")
