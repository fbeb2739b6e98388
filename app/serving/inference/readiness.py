"""Readiness: a golden image passes decode threads and model and gets its expected embedding."""

import asyncio
import time

from app.errors import InferenceError, NotReadyError
from app.serving.inference.engine import Engine
from app.serving.inference.image_embedder import ImageEmbedder
from app.serving.inference.served_model import ServedModel

TIMEOUT_S = 5.0
VALID_S = 2.0  # several probes may check at once, and each check uses a place in a batch


async def check_golden_image(images: ImageEmbedder, served: ServedModel, timeout_s: float) -> None:
    """Pass a golden image through decode threads and model and compare its embedding.

    Args:
        images: the embedder to check.
        served: the checkpoint to check.
        timeout_s: longest duration of the check.

    Raises:
        NotReadyError: the check failed or timed out.
        DrainingError: the service is stopping.
    """
    try:
        async with asyncio.timeout(timeout_s):
            scored = await images.score_golden_image(served)
    except TimeoutError as error:
        raise NotReadyError(
            f"no golden image has passed decode threads and model for {timeout_s:g} s"
        ) from error
    except InferenceError as error:
        raise NotReadyError("the model failed on a golden image") from error
    if not served.classifier.is_golden(scored.embedding):
        raise NotReadyError("the model's embedding of a golden image is not the expected one")


class Readiness:
    """Checks the engine; concurrent callers share one check.

    Args:
        engine: the engine to check, with the checkpoint in use.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._checking: asyncio.Task[None] | None = None
        self._valid_until_s = 0.0

    async def check(self) -> None:
        """Return if the service is ready. A successful check is valid for `VALID_S`.

        Raises:
            DrainingError: the service is stopping.
            NotReadyError: the check failed or timed out.
        """
        self._engine.admission.refuse_when_draining()
        if time.monotonic() < self._valid_until_s:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        await asyncio.shield(self._checking)  # other callers await it too

    async def _check(self) -> None:
        await check_golden_image(self._engine.images, self._engine.models.current, TIMEOUT_S)
        self._valid_until_s = time.monotonic() + VALID_S
