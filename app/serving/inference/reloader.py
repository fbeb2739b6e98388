"""Another checkpoint in the place of the one that answers, while requests come in."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.core.classifier import Classifier
from app.core.runtime import in_passing
from app.errors import DrainingError, MumicError, RefusedCheckpointError
from app.serving.inference.engine import Engine
from app.serving.inference.served_model import served
from app.serving.observability import Metrics
from app.settings import Settings

OLD_ONE = "the old checkpoint answers on"
logger = logging.getLogger("mumic.serving")


class Reloader:
    """Loads a checkpoint beside the one that answers, checks it, and changes over between batches.

    Args:
        engine: that answers.
        settings: whose checkpoint is loaded again where no other is named.
        metrics: of the new checkpoint's scores.
        load: reads a checkpoint directory and checks its golden inputs.
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

    async def reload(self, directory: Path | None = None) -> None:
        """Answer from a checkpoint from now on; requests that have begun end with the old one.

        Args:
            directory: the checkpoint; by default the one of the settings, as it is there now.

        Raises:
            RefusedCheckpointError: something is wrong with it; the old one answers on.
            DrainingError: the service is stopping.
        """
        self._engine.refuse_when_draining()
        path = directory or self._settings.checkpoint
        settings = self._settings.model_copy(update={"checkpoint": path})
        async with self._reloading:
            try:
                loaded = await asyncio.wrap_future(in_passing(1, lambda: self._load(settings)))
                new = served(loaded, settings, self._metrics)
                await self._engine.check_golden(new, settings.request_timeout_s)
            except DrainingError:
                raise
            except (MumicError, OSError) as error:
                logger.warning("the checkpoint %s is not loaded: %s", path, error)
                raise RefusedCheckpointError(f"{error}; {OLD_ONE}") from error
            except Exception as error:  # whatever it is, as when there is no memory for two
                logger.exception("the checkpoint %s is not loaded", path)
                raise RefusedCheckpointError(
                    f"it failed with {type(error).__name__}, of which the log has more; {OLD_ONE}"
                ) from error
            self._engine.serve(new)
        card = loaded.checkpoint.card
        logger.info("checkpoint %s %s (%s) answers from now on", card.name, card.version, path)

    @contextmanager
    def on_hangup(self) -> Iterator[None]:
        """Meanwhile SIGHUP loads the settings' checkpoint again; what is wrong is in the log."""
        if threading.current_thread() is not threading.main_thread():  # which alone has signals
            yield
            return
        loop = asyncio.get_running_loop()
        running: set[asyncio.Task[None]] = set()

        async def reload() -> None:
            with suppress(RefusedCheckpointError, DrainingError):
                await self.reload()

        def begin() -> None:
            task = loop.create_task(reload())
            running.add(task)
            task.add_done_callback(running.discard)

        loop.add_signal_handler(signal.SIGHUP, begin)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
