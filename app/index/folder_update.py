"""Brings an index up to date with a folder, by the content of its photos."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import ImageError
from app.index.writing import EmbeddedContent, IndexWriter

COMMIT_PHOTOS = 256  # an interrupted run loses at most as many


class EmbeddedFile(Protocol):
    """An embedded file, such as an `EmbeddedPhoto` of `app.tagger`."""

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """(D,) unit length; None if the file cannot be used."""

    @property
    def width(self) -> int:
        """In pixels, after EXIF orientation."""

    @property
    def height(self) -> int:
        """In pixels, after EXIF orientation."""

    @property
    def error(self) -> ImageError | None:
        """Why the file cannot be used; None if it was embedded."""


@dataclass(slots=True)
class UpdateCounts:
    """What an update did with the photos of a folder.

    Attributes:
        added: new photos.
        updated: photos whose content has changed.
        renamed: photos that have moved with the same content.
        removed: photos that are no longer in the folder, or can no longer be used.
        unchanged: photos whose content is the stored one.
        failed: photos that cannot be used.
    """

    added: int = 0
    updated: int = 0
    renamed: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0


class FolderUpdate:
    """Compares the photos of a folder with an index, and changes the index in commits.

    A photo is embedded only if no photo with the same content is stored. Photos that are gone are
    removed at the end, so an interrupted update removes nothing.

    Args:
        writer: of the index.
        embed: the bytes of files to an embedding or an error of each, in order.
        commit_photos: photos of one commit.
    """

    def __init__(
        self,
        writer: IndexWriter,
        embed: Callable[[list[bytes]], Sequence[EmbeddedFile]],
        commit_photos: int = COMMIT_PHOTOS,
    ) -> None:
        self.counts = UpdateCounts()
        self._writer = writer
        self._embed = embed
        self._commit_photos = commit_photos
        self._stored = writer.stored()
        self._by_hash = {content.sha256: content for content in self._stored.values()}
        self._gone = set(self._stored)
        self._seen: set[str] = set()
        self._added: list[bytes] = []  # sha256 of added photos
        self._pending: list[tuple[str, EmbeddedContent]] = []

    def embed(self, files: list[bytes]) -> list[EmbeddedContent | ImageError]:
        """Embed those files whose content is not stored.

        Args:
            files: the bytes of the files.

        Returns:
            The content or an error of each file, in order.
        """
        hashes = [hashlib.sha256(file).digest() for file in files]
        new = {
            sha256: file
            for sha256, file in zip(hashes, files, strict=True)
            if sha256 not in self._by_hash
        }
        errors: dict[bytes, ImageError] = {}
        for sha256, photo in zip(new, self._embed(list(new.values())), strict=True):
            if photo.error is not None:
                errors[sha256] = photo.error
            elif photo.embedding is not None:
                self._by_hash[sha256] = EmbeddedContent(
                    sha256, photo.embedding, photo.width, photo.height
                )
        return [errors.get(sha256) or self._by_hash[sha256] for sha256 in hashes]

    def put(self, id: str, content: EmbeddedContent) -> bool:
        """Store a photo, if it is not stored with this content.

        Args:
            id: its path below the folder.
            content: its content.

        Returns:
            False if another photo of this update has the same id.
        """
        if id in self._seen:
            return False
        self._seen.add(id)
        self._gone.discard(id)
        stored = self._stored.get(id)
        if stored is not None and stored.sha256 == content.sha256:
            self.counts.unchanged += 1
            return True
        if stored is None:
            self.counts.added += 1
            self._added.append(content.sha256)
        else:
            self.counts.updated += 1
        self._pending.append((id, content))
        if len(self._pending) >= self._commit_photos:
            self._commit()
        return True

    def keep(self, path: str) -> None:
        """Keep what is stored of a file or folder that cannot be read now.

        Args:
            path: below the folder; empty for the folder itself.
        """
        self._gone = {
            id for id in self._gone if path and id != path and not id.startswith(f"{path}/")
        }

    def finish(self) -> None:
        """Commit the last photos, remove those that are gone, and compact the index."""
        self._commit()
        gone = Counter(self._stored[id].sha256 for id in self._gone)
        moved = sum((gone & Counter(self._added)).values())
        self.counts.renamed = moved
        self.counts.added -= moved
        self.counts.removed = len(self._gone) - moved
        self._writer.remove(sorted(self._gone))
        self._writer.compact()

    def _commit(self) -> None:
        if self._pending:
            self._writer.put(self._pending)
            self._pending = []
