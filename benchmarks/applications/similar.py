"""Time of searching an index of photos, and of finding its near-duplicates.

    python -m benchmarks.applications.similar [--folder FOLDER] [--lancedb]

The rows are embeddings of the photos of a folder, by default the page's sample photos, with noise.
With --lancedb, the searches of LanceDB and their recall are measured too; the server does not use
them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import lancedb
import numpy as np
import torch
from numpy.typing import NDArray

from app.applications.similarity import (
    IndexedPhotos,
    PhotoSearch,
    group_near_duplicates,
    make_label_filter,
)
from app.core.checkpoint import towers_key
from app.core.classifier import Classifier
from app.index import EmbeddedContent, IndexReader, open_for_writing
from app.settings import SHIPPED_CHECKPOINT
from app.tagger import Tagger

SAMPLES = Path("app/serving/page/samples")
NOISE = 0.9  # times the length of an embedding: cosines to the sample of about 0.75
MAX_SAMPLES = 500
REPEATS = 15
COUNT = 10
Rows = NDArray[np.float32]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=SAMPLES, help="photos to start from")
    parser.add_argument("--lancedb", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier = Classifier.load(SHIPPED_CHECKPOINT)
    rows = _rows(classifier, options.folder, options.photos)
    photos = IndexedPhotos(
        ids=[f"{place:07}.jpg" for place in range(len(rows))],
        embeddings=rows,
        widths=np.full(len(rows), 640, np.int32),
        heights=np.full(len(rows), 480, np.int32),
        version=1,
        towers=towers_key(classifier.checkpoint.card.sha256),
    )
    search = PhotoSearch(photos, classifier)
    label = classifier.labels.labels[0].id
    keep = make_label_filter(classifier.labels, include_labels=[label])
    print(f"{len(rows):,} photos of {rows.shape[1]} dimensions\n")
    print("| step | CPU time | wall time |\n|---|---:|---:|")
    _report("labels of all photos, once per index", lambda: search.find(rows[:1], 1, keep=keep), 1)
    _report("search, one query", lambda: search.find(rows[:1], COUNT))
    _report("search, one query, label filter", lambda: search.find(rows[:1], COUNT, keep=keep))
    _report("search, 64 queries", lambda: search.find(rows[:64], COUNT))
    _report(
        "near-duplicates of all photos",
        lambda: group_near_duplicates(rows, range(len(rows))),
        1,
    )
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "index")
        _write(index, classifier, photos)
        _report("read the index", lambda: IndexReader(index).read(), 5)
        if options.lancedb:
            _measure_lancedb(index, rows)


def _measure_lancedb(index: Path, rows: Rows) -> None:
    table = lancedb.connect(index).open_table("photos")

    def found(query: Rows) -> list[str]:
        search = table.search(query).distance_type("dot").limit(COUNT).select(["id", "_distance"])
        ids: list[str] = search.to_arrow()["id"].to_pylist()
        return ids

    _report("LanceDB, scan", lambda: found(rows[0]))
    _report(
        "LanceDB, make IVF_HNSW_SQ",
        lambda: table.create_index(
            vector_column_name="embedding", metric="dot", index_type="IVF_HNSW_SQ"
        ),
        1,
    )
    _report("LanceDB, search IVF_HNSW_SQ", lambda: found(rows[0]))
    queries = rows[:: max(1, len(rows) // 100)]
    exact = np.argsort(-(queries @ rows.T), axis=1)[:, :COUNT]
    recalled = [
        len({f"{row:07}.jpg" for row in best} & set(found(query)))
        for query, best in zip(queries, exact, strict=True)
    ]
    print(f"\nrecall@{COUNT} of IVF_HNSW_SQ: {np.mean(recalled) / COUNT:.3f}")


def _rows(classifier: Classifier, folder: Path, count: int) -> Rows:
    embedded = Tagger(classifier).embed(sorted(folder.glob("*.jpg"))[:MAX_SAMPLES])
    samples = np.stack([each.embedding for each in embedded if each.embedding is not None])
    generator = np.random.default_rng(0)
    noise = generator.normal(0, NOISE / samples.shape[1] ** 0.5, (count, samples.shape[1]))
    rows = samples[generator.integers(0, len(samples), count)] + noise.astype(np.float32)
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _write(index: Path, classifier: Classifier, photos: IndexedPhotos) -> None:
    contents: Sequence[tuple[str, EmbeddedContent]] = [
        (id, EmbeddedContent(bytes(32), row, 640, 480))
        for id, row in zip(photos.ids, photos.embeddings, strict=True)
    ]
    with open_for_writing(index, classifier.checkpoint, classifier.dimension) as writer:
        writer.put(contents)


def _report(name: str, work: Callable[[], object], repeats: int = REPEATS) -> None:
    """Print the median CPU time, which other processes do not change, and the wall time."""
    times = []
    for _ in range(repeats):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        work()
        times.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
    cpu_ms, wall_ms = (1000 * median(each) for each in zip(*times, strict=True))
    print(f"| {name} | {cpu_ms:,.1f} ms | {wall_ms:,.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
