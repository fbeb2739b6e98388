"""Whether requests would be answered rightly now: a golden image goes their way."""

import asyncio
import time

from app.serving.inference.engine import Engine

PATIENCE_S = 5.0
VALID_S = 2.0  # probes come from many sides, and each check costs a place in a batch


class Readiness:
    """Has the engine check a golden image, once for all who ask at a time.

    Args:
        engine: that is checked, with the checkpoint that it serves then.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._checking: asyncio.Task[None] | None = None
        self._valid_until = 0.0

    async def check(self) -> None:
        """Return when the service is ready; the answer of a check holds for a moment.

        Raises:
            DrainingError: the service is stopping.
            NotReadyError: decoders or model do not answer, or not as they should.
        """
        self._engine.refuse_when_draining()
        if time.monotonic() < self._valid_until:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        await asyncio.shield(self._checking)  # others await it too

    async def _check(self) -> None:
        await self._engine.check_golden(self._engine.served, PATIENCE_S)
        self._valid_until = time.monotonic() + VALID_S
