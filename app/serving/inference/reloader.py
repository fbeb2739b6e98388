"""Replaces the served checkpoint while requests are answered."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.core.classifier import Classifier
from app.core.runtime import run_in_new_thread
from app.errors import CheckpointError, DrainingError, MumicError, RefusedCheckpointError
from app.serving.inference.engine import Engine
from app.serving.inference.readiness import check_golden_image
from app.serving.inference.served_model import ServedModel, make_served_model
from app.serving.observability import Metrics
from app.settings import Settings

STILL_SERVED = "the old checkpoint is still served"
logger = logging.getLogger("mumic.serving")


class Reloader:
    """Loads a checkpoint in a thread, checks it in the engine and serves it from then on.

    Args:
        engine: the engine that serves.
        settings: name the default checkpoint.
        metrics: receives the new checkpoint's scores and the outcome of each reload.
        load: reads a checkpoint directory and verifies its golden inputs.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        metrics: Metrics,
        load: Callable[[Settings], Classifier],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._load = load
        self._reloading = asyncio.Lock()
        self._running: set[asyncio.Task[Classifier]] = set()

    async def reload(self, directory: Path | None = None) -> None:
        """Serve a checkpoint to new requests; running requests finish with the old one.

        Args:
            directory: the checkpoint; by default that of the settings, read from disk again.

        Raises:
            RefusedCheckpointError: the checkpoint is invalid; the old one is still served.
            DrainingError: the service is stopping.
        """
        self._engine.admission.refuse_when_draining()
        path = directory or self._settings.checkpoint
        settings = self._settings.model_copy(update={"checkpoint": path})
        async with self._reloading:
            try:
                loaded = await self._load_and_serve(settings)
            except RefusedCheckpointError:
                self._metrics.model.count_reload(succeeded=False)
                raise
            self._metrics.model.count_reload(succeeded=True)
        card = loaded.checkpoint.card
        logger.info("Checkpoint %s %s (%s) is served from now on", card.name, card.version, path)

    async def change_labels(self, change: Callable[[Classifier], Classifier]) -> Classifier:
        """Serve other labels of the same weights to new requests.

        Changes and reloads run one after the other. A change that has begun is finished, also if
        the caller is cancelled.

        Args:
            change: called in a thread with the served classifier; returns its successor.

        Returns:
            The successor.

        Raises:
            MumicError: the change failed; the old labels are still served.
        """
        self._engine.admission.refuse_when_draining()
        task = asyncio.create_task(self._change_labels(change))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _change_labels(self, change: Callable[[Classifier], Classifier]) -> Classifier:
        async with self._reloading:
            old = self._engine.models.current

            def prepare() -> ServedModel:
                new = change(old.classifier)
                cache = old.cache.rescored(new.score_embeddings)
                return make_served_model(new, self._settings, self._metrics, cache)

            try:
                served = await asyncio.wrap_future(run_in_new_thread(1, prepare))
            except CheckpointError as error:
                raise RefusedCheckpointError(f"{error}; {STILL_SERVED}") from error
            self._engine.models.replace(served)
        return served.classifier

    async def _load_and_serve(self, settings: Settings) -> Classifier:
        path = settings.checkpoint
        try:
            loaded = await asyncio.wrap_future(run_in_new_thread(1, lambda: self._load(settings)))
            new = make_served_model(loaded, settings, self._metrics)
            await check_golden_image(self._engine.images, new, settings.request_timeout_s)
        except DrainingError:
            raise
        except (MumicError, OSError) as error:
            logger.warning("The checkpoint %s is not loaded: %s", path, error)
            raise RefusedCheckpointError(f"{error}; {STILL_SERVED}") from error
        except Exception as error:  # such as a lack of memory for two checkpoints
            logger.exception("The checkpoint %s is not loaded", path)
            raise RefusedCheckpointError(
                f"it failed with {type(error).__name__}; the log has the traceback; {STILL_SERVED}"
            ) from error
        self._engine.models.replace(new)
        return loaded

    @contextmanager
    def on_hangup(self) -> Iterator[None]:
        """Reload the settings' checkpoint on SIGHUP inside the context; errors are logged."""
        # Python delivers signals to the main thread only.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        running: set[asyncio.Task[None]] = set()

        async def reload() -> None:
            with suppress(RefusedCheckpointError, DrainingError):
                await self.reload()

        def start_reload() -> None:
            task = loop.create_task(reload())
            running.add(task)
            task.add_done_callback(running.discard)

        loop.add_signal_handler(signal.SIGHUP, start_reload)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
