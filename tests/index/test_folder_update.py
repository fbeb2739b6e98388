"""The index follows its folder by content: what is embedded, kept, moved and removed."""

from dataclasses import asdict
from pathlib import Path

import lancedb
import pytest

from app.core.classifier import Classifier
from app.errors import PhotoIndexError
from app.index import (
    EmbeddedContent,
    FolderUpdate,
    IndexReader,
    UpdateCounts,
    open_for_writing,
)
from app.tagger import EmbeddedPhoto
from tests.support.index import DIMENSION, embed_bytes, update_index
from tests.support.tiny import write_tiny

FILES = {f"{name}.jpg": name.encode() for name in ("a", "b", "c", "d", "e")}


class CountingEmbed:
    """Embeds files by their hash, and remembers which."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def __call__(self, files: list[bytes]) -> list[EmbeddedPhoto]:
        self.files += files
        return embed_bytes(files)


@pytest.fixture
def embed() -> CountingEmbed:
    return CountingEmbed()


@pytest.fixture
def index(tmp_path: Path, tiny_classifier: Classifier) -> Path:
    """An index of `FILES`."""
    update_index(tmp_path / "index", tiny_classifier.checkpoint, FILES)
    return tmp_path / "index"


def ids(index: Path) -> list[str]:
    return list(IndexReader(index).read().ids)


def stored(content: bytes) -> list[float]:
    """Return the embedding that `embed_bytes` gives a file."""
    (photo,) = embed_bytes([content])
    assert photo.embedding is not None
    values: list[float] = photo.embedding.tolist()
    return values


def put(update: FolderUpdate, id: str, data: bytes) -> bool:
    (outcome,) = update.embed([data])
    assert isinstance(outcome, EmbeddedContent)
    return update.put(id, outcome)


def changed(**counts: int) -> dict[str, int]:
    return asdict(UpdateCounts(**counts))


def test_new_index_has_every_photo(index: Path) -> None:
    photos = IndexReader(index).read()
    assert photos.ids == sorted(FILES)
    assert photos.embeddings[2].tolist() == stored(b"c")
    assert (photos.widths.tolist(), photos.heights.tolist()) == ([40] * 5, [30] * 5)


def test_unchanged_folder_embeds_and_writes_nothing(
    index: Path, tiny_classifier: Classifier, embed: CountingEmbed
) -> None:
    before = IndexReader(index).revision()
    counts = update_index(index, tiny_classifier.checkpoint, FILES, embed)
    assert asdict(counts) == changed(unchanged=5)
    assert not embed.files
    assert IndexReader(index).revision() == before


def test_changed_photo_is_replaced(
    index: Path, tiny_classifier: Classifier, embed: CountingEmbed
) -> None:
    counts = update_index(index, tiny_classifier.checkpoint, FILES | {"b.jpg": b"new"}, embed)
    assert asdict(counts) == changed(updated=1, unchanged=4)
    assert embed.files == [b"new"]
    assert IndexReader(index).read().embeddings[1].tolist() == stored(b"new")


def test_renamed_photo_is_not_embedded_again(
    index: Path, tiny_classifier: Classifier, embed: CountingEmbed
) -> None:
    files = {name: data for name, data in FILES.items() if name != "b.jpg"} | {"it's/b": b"b"}
    counts = update_index(index, tiny_classifier.checkpoint, files, embed)
    assert asdict(counts) == changed(renamed=1, unchanged=4)
    assert not embed.files
    assert ids(index) == ["a.jpg", "c.jpg", "d.jpg", "e.jpg", "it's/b"]
    update_index(index, tiny_classifier.checkpoint, FILES)
    assert ids(index) == sorted(FILES)  # a name with a quote is removed too


def test_exchanged_names_keep_their_contents(
    index: Path, tiny_classifier: Classifier, embed: CountingEmbed
) -> None:
    files = FILES | {"a.jpg": b"b", "b.jpg": b"a"}
    assert asdict(update_index(index, tiny_classifier.checkpoint, files, embed)) == changed(
        updated=2, unchanged=3
    )
    assert not embed.files
    rows = IndexReader(index).read().embeddings
    assert [rows[0].tolist(), rows[1].tolist()] == [stored(b"b"), stored(b"a")]


def test_copies_are_embedded_once(tmp_path: Path, tiny_classifier: Classifier) -> None:
    embed = CountingEmbed()
    files = {"a": b"same", "b": b"same"}
    counts = update_index(tmp_path / "index", tiny_classifier.checkpoint, files, embed)
    assert (asdict(counts), embed.files) == (changed(added=2), [b"same"])


def test_missing_photo_is_removed(index: Path, tiny_classifier: Classifier) -> None:
    files = {"a.jpg": b"a", "c.jpg": b"c"}
    counts = update_index(index, tiny_classifier.checkpoint, files)
    assert asdict(counts) == changed(removed=3, unchanged=2)
    assert ids(index) == ["a.jpg", "c.jpg"]


def test_photo_that_became_unusable_is_removed(index: Path, tiny_classifier: Classifier) -> None:
    update_index(index, tiny_classifier.checkpoint, FILES | {"a.jpg": b"bad"})
    assert ids(index) == ["b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_unreadable_files_and_folders_are_kept(tmp_path: Path, tiny_classifier: Classifier) -> None:
    index, checkpoint = tmp_path / "index", tiny_classifier.checkpoint
    files = {"in/a": b"1", "in/b": b"2", "inner": b"3", "c": b"4"}
    update_index(index, checkpoint, files)
    update_index(index, checkpoint, {"d": b"5"}, unreadable=["in"])
    assert ids(index) == ["d", "in/a", "in/b"]
    update_index(index, checkpoint, {"e": b"6"}, unreadable=[""])  # the folder itself
    assert ids(index) == ["d", "e", "in/a", "in/b"]


def test_interrupted_update_keeps_commits_and_removes_nothing(
    index: Path, tiny_classifier: Classifier, embed: CountingEmbed
) -> None:
    files = [f"new {number}" for number in range(5)]
    with open_for_writing(index, tiny_classifier.checkpoint, DIMENSION) as writer:
        update = FolderUpdate(writer, embed, commit_photos=2)
        for name in files:
            put(update, name, name.encode())
    assert ids(index) == [*sorted(FILES), *files[:4]]
    again = CountingEmbed()
    update_index(index, tiny_classifier.checkpoint, {name: name.encode() for name in files}, again)
    assert again.files == [b"new 4"]
    assert ids(index) == files


def test_id_given_twice_is_refused(tmp_path: Path, tiny_classifier: Classifier) -> None:
    with open_for_writing(tmp_path / "index", tiny_classifier.checkpoint, DIMENSION) as writer:
        update = FolderUpdate(writer, embed_bytes)
        assert put(update, "a", b"1")
        assert not put(update, "a", b"2")
        update.finish()
    assert ids(tmp_path / "index") == ["a"]


def test_second_writer_is_refused(index: Path, tiny_classifier: Classifier) -> None:
    with (
        open_for_writing(index, tiny_classifier.checkpoint, DIMENSION),
        pytest.raises(PhotoIndexError, match="another mumic index is writing"),
        open_for_writing(index, tiny_classifier.checkpoint, DIMENSION),
    ):
        pass
    with open_for_writing(index, tiny_classifier.checkpoint, DIMENSION):
        pass  # the lock ends with the block


def test_other_model_is_refused_until_rebuilt(
    index: Path, tmp_path: Path, tiny_classifier: Classifier
) -> None:
    other = Classifier.load(
        write_tiny(tmp_path / "other", seed=1, version="2"), device="cpu", precision="fp32"
    )
    reader = IndexReader(index)
    with pytest.raises(PhotoIndexError, match=r"tiny 1\.2\.3.*--rebuild"):
        reader.read(other.checkpoint)
    with pytest.raises(PhotoIndexError, match="--rebuild"):
        update_index(index, other.checkpoint, FILES)
    assert reader.read(tiny_classifier.checkpoint).ids == sorted(FILES)
    before = reader.revision()
    embed = CountingEmbed()
    counts = update_index(index, other.checkpoint, FILES, embed, rebuild=True)
    assert (asdict(counts), len(embed.files)) == (changed(added=5), 5)
    assert reader.read(other.checkpoint).fits(other.checkpoint)
    assert reader.revision()[0] != before[0]
    with pytest.raises(PhotoIndexError, match="tiny 2"):
        reader.read(tiny_classifier.checkpoint)


def test_other_labels_need_no_rebuild(index: Path, tmp_path: Path) -> None:
    relabelled = Classifier.load(
        write_tiny(tmp_path / "new", version="1.2.4"), device="cpu", precision="fp32"
    )
    assert len(IndexReader(index).read(relabelled.checkpoint).ids) == 5


def test_directory_without_index_is_refused(tmp_path: Path, tiny_classifier: Classifier) -> None:
    with pytest.raises(PhotoIndexError, match="does not exist; make one with: mumic index"):
        IndexReader(tmp_path / "none").read()
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(PhotoIndexError, match="is not an index of photos; make one"):
        IndexReader(tmp_path).read()
    with pytest.raises(PhotoIndexError, match="has files and is not an index"):
        update_index(tmp_path, tiny_classifier.checkpoint, FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_empty_index_is_refused(tmp_path: Path, tiny_classifier: Classifier) -> None:
    update_index(tmp_path / "index", tiny_classifier.checkpoint, {})
    with pytest.raises(PhotoIndexError, match="has no photos; add some with: mumic index FOLDER"):
        IndexReader(tmp_path / "index").read()


def test_foreign_table_is_refused(tmp_path: Path) -> None:
    lancedb.connect(tmp_path / "db").create_table("photos", [{"id": "a"}])
    with pytest.raises(PhotoIndexError, match="was not written by mumic index"):
        IndexReader(tmp_path / "db").read()


def test_damaged_index_is_reported(index: Path) -> None:
    for file in (index / "photos.lance").rglob("*.lance"):
        file.write_bytes(b"")
    with pytest.raises(PhotoIndexError, match="cannot be used"):
        IndexReader(index).read()
