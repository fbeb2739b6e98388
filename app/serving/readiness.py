"""Whether requests would be answered rightly now: a golden image goes their way."""

import asyncio
import time

from app.errors import NotReadyError, ServiceError
from app.serving.engine import Engine

PATIENCE_S = 5.0
VALID_S = 2.0  # probes come from many sides, and each check costs a place in a batch


class Readiness:
    """Sends the first golden image through the batcher, and holds its embedding to the card's.

    Args:
        engine: whose batcher is checked, with the checkpoint that it serves then.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._checking = asyncio.Lock()
        self._valid_until = 0.0

    async def check(self) -> None:
        """Return when the service is ready; the answer of a check holds for a moment.

        Raises:
            DrainingError: the service is stopping.
            NotReadyError: the model does not answer, or not as it should.
        """
        async with self._checking:
            self._engine.refuse_when_draining()
            if time.monotonic() < self._valid_until:
                return
            await self._check()
            self._valid_until = time.monotonic() + VALID_S

    async def _check(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                golden = await self._engine.computes_golden(self._engine.served)
        except TimeoutError as error:
            raise NotReadyError(
                f"the model has not embedded an image for {PATIENCE_S:g} s"
            ) from error
        except ServiceError as error:
            raise NotReadyError("the model failed on a golden image") from error
        if not golden:
            raise NotReadyError("the model gives a golden image another embedding than it should")
