"""A table that lists what is present and nothing else: split, train, thresholds and evaluate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.annotation.targets import split_counts
from app.core.labels import builtin_label_set
from app.dataset.manifest import ManifestRow, Split, read_manifest
from tests.support.annotation import write_crops
from tests.support.command import Run, mumic
from tests.support.tiny import write_tiny

pytestmark = pytest.mark.slow

FILES = 20
Mumic = Callable[..., Run]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Mumic:
    """Run `mumic` in a folder of photos and the table `filename,labels`."""
    files = write_crops(tmp_path / "photos", FILES)
    rows = [f'{file},"{"pets,garden" if i % 2 else "garden"}"' for i, file in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,labels", *rows, "", ",", ""]))
    write_tiny(tmp_path / "start", builtin_label_set())
    monkeypatch.chdir(tmp_path)

    def call(command: str) -> Run:
        return mumic(monkeypatch, capsys, *command.split())

    return call


SPLIT = (
    "data split --targets labels.csv --photos photos --file-column filename "
    "--positive-column labels --separator , --shares 50/25/25 --out manifest.csv"
)
DATA = "--manifest manifest.csv --photos photos --device cpu"


def test_split_warns_of_unlisted_labels_and_names_the_option(run: Mumic, tmp_path: Path) -> None:
    ran = run(SPLIT)
    assert ran.code == 0
    assert "warning: no label has a negative photo" in ran.err
    assert "--unlisted negative" in ran.err
    assert all(not row.negative for row in manifest(tmp_path))


def test_unlisted_label_is_negative_by_option(run: Mumic, tmp_path: Path) -> None:
    ran = run(f"{SPLIT} --unlisted negative")
    assert ran.code == 0, ran.err
    rows = manifest(tmp_path)
    assert all(row.positive | row.negative == {"pets", "garden"} for row in rows)
    assert sum("pets" in row.negative for row in rows) == FILES / 2
    assert "no negative photo, so neither learned nor measured (1 of 2 labels): garden" in ran.err
    assert "may hardly ever be served, or on the wrong photos (1 of 2 labels): pets" in ran.err


each_command = pytest.mark.parametrize(
    "command",
    [
        "train --init start --out mine",
        "tune --trials 1 --init start --out mine",
        "thresholds --checkpoint start --out mine",
        "prompts --checkpoint start --part train --out mine",
        "evaluate --checkpoint start --out mine",
        "compare A=start",
    ],
)


@each_command
def test_table_without_splits_is_refused_with_remedy(
    run: Mumic, tmp_path: Path, command: str
) -> None:
    ran = run(f"{command} {DATA.replace('manifest.csv', 'labels.csv')}")
    assert (ran.code, ran.out) == (1, "")
    assert "labels.csv: no column file, part, positive; " in ran.err
    assert ran.err.endswith("Make the manifest with: mumic data split\n")
    assert not list(tmp_path.glob("mine/*"))


@each_command
def test_table_without_negatives_is_refused_with_remedy(
    run: Mumic, tmp_path: Path, command: str
) -> None:
    run(SPLIT)
    ran = run(f"{command} {DATA}")
    assert (ran.code, ran.out) == (1, "")
    assert "negative" in ran.err
    assert "mumic data split --unlisted negative" in ran.err
    assert not list(tmp_path.glob("mine/*"))


def test_label_without_negative_is_undefined_and_not_trained(run: Mumic, tmp_path: Path) -> None:
    run(f"{SPLIT} --unlisted negative")
    trained = run(f"train --init start --out mine --epochs 1 --batch-size 10 {DATA}")
    assert trained.code == 0, trained.err
    assert "no known negative in the split train, so 1 of" in trained.err
    assert "are not trained: a photo with garden" in trained.err
    fitted = run(f"thresholds --checkpoint mine --out mine {DATA}")
    assert fitted.code == 0, fitted.err
    assert "warning: too few photos for" in fitted.out
    assert "a label may hardly ever be served, or on the wrong photos" in fitted.out
    assert "store: not fitted; at most 0.05 for every label" in fitted.out
    assert "cross-validation" not in fitted.out
    card = json.loads((tmp_path / "mine" / "mumic.json").read_text())
    assert "unseen_recall" not in card["metrics"]["thresholds"]
    rows = [line.split() for line in fitted.out.splitlines() if line]
    header, garden = (next(row for row in rows if row[0] == name) for name in ("label", "garden"))
    column = dict(zip(header, garden, strict=True))
    assert (column["serve"], column["F1"], column["best"]) == ("null", "-", "-")
    measured = run(f"evaluate --checkpoint mine --out report --resamples 10 {DATA}")
    assert measured.code == 0, measured.err
    assert "without a known negative in the split test (1 of" in measured.err
    assert (
        "warning: fewer than 10 positives or negatives for 1 of 1 classes in the split test: "
        "their figures are hardly informative: pets" in measured.err
    )
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())["checkpoints"]
    (checkpoint,) = found.values()
    ap = {each["key"]: each["average_precision"]["value"] for each in checkpoint["classes"]}
    assert ap["garden"] is None
    assert checkpoint["subsets"][0]["macro_map"]["value"] == pytest.approx(ap["pets"])
    assert (
        "without a known negative in this split, not measured (1): garden"
        in (tmp_path / "report" / "report.md").read_text()
    )


def test_one_hot_table_is_read_by_option(run: Mumic, tmp_path: Path) -> None:
    rows = [f"{i},{i:02d}.png,{i % 2},{'' if i else 1}" for i in range(FILES)]
    (tmp_path / "flags.csv").write_text("\n".join([",file,pets,garden", *rows]))
    split = "data split --targets flags.csv --photos photos --shares 50/25/25 --out manifest.csv"
    ran = run(split)
    assert ran.code == 1
    assert "no column positive; needs file, positive, has file, pets, garden" in ran.err
    assert "only 0 and 1 in pets: mumic data split --one-hot reads them" in ran.err
    assert run(f"{split} --one-hot").code == 0
    by_file = {row.file: row for row in manifest(tmp_path)}
    assert by_file["00.png"].positive == {"garden"}
    assert by_file["00.png"].negative == {"pets"}
    assert by_file["03.png"].positive == {"pets"}
    assert by_file["03.png"].negative == set()
    (tmp_path / "flags.csv").write_text("file,width\n00.png,640\n")
    ran = run(f"{split} --one-hot")
    assert "row 2, column width: '640' is not 1 (present), 0 (absent) or empty" in ran.err
    (tmp_path / "flags.csv").write_text("file,pets,pets\n00.png,1,0\n")
    assert "column pets occurs twice" in run(f"{split} --one-hot").err


def test_label_with_comma_needs_explicit_separator(run: Mumic, tmp_path: Path) -> None:
    ran = run(SPLIT.replace("--separator , ", ""))
    assert ran.code == 1
    assert "labels.csv: row 3, column labels: 'pets,garden' holds ','" in ran.err
    assert "give --separator ','" in ran.err
    assert run(SPLIT.replace("--separator ,", "--separator |")).code == 0
    assert {"pets,garden", "garden"} == {
        name for row in manifest(tmp_path, ["pets,garden", "garden"]) for name in row.positive
    }


def test_label_missing_in_one_split_is_named() -> None:
    def row(i: int, split: Split, positive: str, negative: str) -> ManifestRow:
        return ManifestRow(
            file=f"{i}.jpg",
            split=split,
            positive=frozenset(positive.split()),
            negative=frozenset(negative.split()),
            row_number=i,
        )

    rows = [row(1, "train", "a", "b"), row(2, "train", "b", "a"), row(3, "validation", "a", "b")]
    warnings = list(split_counts.split_warnings([*rows, row(4, "test", "a b", "")]))
    assert any(
        "split validation, so without average precision, and not served by default (2 of 2" in w
        for w in warnings
    )
    assert not any("split train" in warning for warning in warnings)


def manifest(folder: Path, names: list[str] | None = None) -> list[ManifestRow]:
    """Read the manifest that `mumic data split` wrote."""
    return read_manifest(folder / "manifest.csv", folder / "photos", names or ["pets", "garden"])
