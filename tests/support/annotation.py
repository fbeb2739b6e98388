"""Votes, golden sets and photos for the tests of `mumic data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.core.labels import Label, LabelSet, dump_label_set
from app.dataset.manifest import Annotation
from tests.support.photos import sample

LABELS = LabelSet(
    version="1",
    labels=(
        Label(id="room", name="Room", description="room", category="Room"),
        Label(id="bedroom", name="Bedroom", description="b", category="Room", parents=("room",)),
        Label(id="suite", name="Suite", description="s", category="Room", parents=("bedroom",)),
        Label(id="pool", name="Pool", description="pool", category="Outside"),
        Label(id="garden", name="Garden", description="garden", category="Outside"),
    ),
)
VOTES = "file,label,votes,annotators\n"


def write_labels(folder: Path) -> Path:
    """Write `LABELS` to a file and return its path."""
    dump_label_set(LABELS, folder / "labels.yaml")
    return folder / "labels.yaml"


def write_crops(folder: Path, count: int) -> list[str]:
    """Write different crops of a photo of a cat and return their file names."""
    folder.mkdir(exist_ok=True)
    cat = sample("chelsea")
    files = [f"{i:02d}.png" for i in range(count)]
    for i, file in enumerate(files):
        cat.crop((5 * i, 0, 5 * i + 64, 64)).save(folder / file)
    return files


def annotation(file: str, positive: Sequence[str] = (), negative: Sequence[str] = ()) -> Annotation:
    """Build the annotation of a photo."""
    return Annotation(
        file=file, positive=frozenset(positive), negative=frozenset(negative), row_number=1
    )


def labels_by_file(annotations: Sequence[Annotation]) -> Mapping[str, tuple[str, str]]:
    """Return each file's positive and negative labels, as text of a table's cells."""
    return {
        a.file: ("|".join(sorted(a.positive)), "|".join(sorted(a.negative))) for a in annotations
    }
