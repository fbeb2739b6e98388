"""Search of indexed photos with a checkpoint."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.applications.similarity.duplicates import (
    DUPLICATE_SIMILARITY,
    DuplicateGroup,
    group_near_duplicates,
)
from app.applications.similarity.label_filter import LabelFilter
from app.applications.similarity.nearest import Neighbours, nearest_neighbours
from app.core.checkpoint import Checkpoint, towers_key
from app.core.classifier import Classifier
from app.core.labels import Selection, Tag, make_selection

MAX_COUNT = 100
DEFAULT_COUNT = 10
BLOCK_ROWS = 8192  # photos whose labels are scored at once


@dataclass(frozen=True, slots=True, eq=False)
class IndexedPhotos:
    """The photos of an index, sorted by id.

    Attributes:
        ids: the path of each photo below the indexed folder.
        embeddings: (N, D) float32 unit rows.
        widths: (N,) int32, in pixels, after EXIF orientation.
        heights: (N,) int32, in pixels, after EXIF orientation.
        version: of the index; each change of it increases the version.
        towers: the key of the towers that embedded the photos.
    """

    ids: Sequence[str]
    embeddings: NDArray[np.float32]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    version: int
    towers: str

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the embeddings can be compared with those of a checkpoint."""
        return self.towers == towers_key(checkpoint.card.sha256)

    def duplicates(self) -> list[DuplicateGroup]:
        """Group near-duplicates; the photo with the most pixels stands for its group."""
        pixels = self.widths.astype(np.int64) * self.heights
        best_first = np.lexsort((np.arange(len(pixels)), -pixels))
        return group_near_duplicates(self.embeddings, best_first.tolist())


@dataclass(frozen=True, slots=True)
class Match:
    """A photo of the index that is similar to a query.

    Attributes:
        id: its path below the indexed folder.
        similarity: cosine of the embeddings, in [-1, 1].
        duplicate: whether it is a near-duplicate of the query.
        width: in pixels, after EXIF orientation.
        height: in pixels, after EXIF orientation.
        tags: its labels, highest confidence first.
    """

    id: str
    similarity: float
    duplicate: bool
    width: int
    height: int
    tags: tuple[Tag, ...]


class PhotoSearch:
    """Searches the photos of an index. All methods are thread-safe.

    Labels are scored from the embeddings with the checkpoint that is in use, so a change of its
    labels or thresholds takes effect without a change of the index.

    Args:
        photos: the photos of the index.
        classifier: a checkpoint with the towers that embedded them.

    Attributes:
        photos: the photos of the index.
        classifier: the checkpoint.
    """

    def __init__(self, photos: IndexedPhotos, classifier: Classifier) -> None:
        self.photos = photos
        self.classifier = classifier
        self._shown: NDArray[np.bool_] | None = None
        self._scoring = threading.Lock()

    def find(
        self,
        queries: NDArray[np.float32],
        count: int,
        *,
        keep: LabelFilter | None = None,
        min_similarity: float = -1.0,
    ) -> list[list[Match]]:
        """Find the photos that are most similar to each query.

        Args:
            queries: (Q, D) unit rows, of photos or of texts.
            count: the most matches of a query.
            keep: which photos may match; None for all.
            min_similarity: lowest cosine of a match.

        Returns:
            The matches of each query, in order: most similar first, and by id on a tie.
        """
        usable = None if keep is None or keep.keeps_all else keep(self._shown_labels())
        found = nearest_neighbours(
            self.photos.embeddings, queries, count, usable=usable, min_similarity=min_similarity
        )
        select = make_selection(self.classifier.labels)
        return [self._matches(each, select) for each in found]

    def _matches(self, found: Neighbours, select: Selection) -> list[Match]:
        photos, rows = self.photos, found.rows
        logits = self.classifier.score_embeddings(torch.from_numpy(photos.embeddings[rows]))
        return [
            Match(
                photos.ids[row],
                float(similarity),
                bool(similarity >= DUPLICATE_SIMILARITY),
                int(photos.widths[row]),
                int(photos.heights[row]),
                tuple(select(scores)),
            )
            for row, similarity, scores in zip(rows, found.similarities, logits, strict=True)
        ]

    def _shown_labels(self) -> NDArray[np.bool_]:
        """Return (N, C): whether each photo shows each label at its `serve` threshold."""
        with self._scoring:
            if self._shown is None:
                thresholds = self.classifier.labels.serve_thresholds
                embeddings = self.photos.embeddings
                self._shown = np.empty((len(embeddings), len(thresholds)), bool)
                for start in range(0, len(embeddings), BLOCK_ROWS):
                    block = torch.from_numpy(embeddings[start : start + BLOCK_ROWS])
                    confidences = self.classifier.score_embeddings(block).sigmoid().numpy()
                    self._shown[start : start + BLOCK_ROWS] = confidences >= thresholds
            return self._shown
