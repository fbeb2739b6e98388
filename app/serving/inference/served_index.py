"""The index of photos that POST /similar searches, and its changes while the server runs."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.applications.similarity import IndexedPhotos, PhotoSearch
from app.core.classifier import Classifier
from app.core.runtime import run_in_new_thread
from app.errors import PhotoIndexError
from app.serving.inference.served_model import ServedModel, ServedModels
from app.serving.observability import Metrics

if TYPE_CHECKING:  # needs an extra
    from app.index import IndexReader, Revision

REFRESH_S = 5.0
logger = logging.getLogger("mumic.serving")


class ServedIndex:
    """Keeps the photos of an index in memory, and reads them again when the index has changed.

    Args:
        reader: reads the index.
        models: the checkpoint in use.
        metrics: receives the size of the index and the outcome of each refresh.

    Raises:
        PhotoIndexError: the index cannot be read, has no photos or is of another model.
    """

    def __init__(self, reader: "IndexReader", models: ServedModels, metrics: Metrics) -> None:
        self._reader = reader
        self._models = models
        self._metrics = metrics.index
        self._next: IndexedPhotos | None = None
        self._problem = ""
        classifier = models.current.classifier
        self._revision: Revision = reader.revision()
        self._use(PhotoSearch(reader.read(classifier.checkpoint), classifier))

    def search(self, served: ServedModel) -> PhotoSearch:
        """Return the search of the latest photos with the checkpoint in use.

        Args:
            served: the checkpoint in use. A request keeps what it gets, whatever is loaded later.
        """
        classifier = served.classifier
        if classifier is not self._search.classifier:
            photos = self._search.photos
            if self._next is not None and not photos.fits(classifier.checkpoint):
                photos, self._next = self._next, None
            self._use(PhotoSearch(photos, classifier))
        return self._search

    def prepare(self, classifier: Classifier) -> None:
        """Read the index again if a checkpoint that is to be served needs another one.

        Call it before the checkpoint is in use, off the event loop.

        Raises:
            PhotoIndexError: the index is of another model than the checkpoint.
        """
        if not self._search.photos.fits(classifier.checkpoint):
            self._next = self._reader.read(classifier.checkpoint)

    async def refresh(self) -> None:
        """Read the index if it has changed. If that fails, the photos in memory stay in use."""
        checkpoint = self._models.current.classifier.checkpoint

        def read() -> "tuple[Revision, IndexedPhotos] | None":
            revision = self._reader.revision()
            return None if revision == self._revision else (revision, self._reader.read(checkpoint))

        try:
            changed = await asyncio.wrap_future(run_in_new_thread(1, read))
        except PhotoIndexError as error:
            self._metrics.set_refreshed(succeeded=False)
            if self._problem != (problem := str(error)):
                logger.warning("The index is not read again: %s", problem)
            self._problem = problem
            return
        self._metrics.set_refreshed(succeeded=True)
        self._problem = ""
        search = self.search(self._models.current)  # frees a replaced checkpoint
        # A reload during the await may have changed the model.
        if changed and changed[1].towers == search.photos.towers:
            self._revision, photos = changed
            self._use(PhotoSearch(photos, search.classifier))
            logger.info("Version %d of the index is in use", photos.version)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Refresh every `REFRESH_S` seconds inside the context; use it in a running event loop."""

        async def follow() -> None:
            while True:
                await asyncio.sleep(REFRESH_S)
                try:
                    await self.refresh()
                except Exception:  # the next check may succeed
                    self._metrics.set_refreshed(succeeded=False)
                    logger.exception("The index could not be checked for changes")

        task = asyncio.get_running_loop().create_task(follow())
        try:
            yield
        finally:
            task.cancel()

    def _use(self, search: PhotoSearch) -> None:
        self._search = search
        self._metrics.set_photos(len(search.photos.ids))
