"""How fast images are processed while the server has as many as it can process at once."""

import math

WINDOW_S = 10.0  # of saturated time; older observations count for less


class Throughput:
    """Estimates seconds per image from images that finish while the server is saturated.

    A server that is idle or lightly loaded processes images as slowly as they arrive. Therefore
    only the time with many unfinished images counts. Until as many images have finished in it, the
    model's last batch gives the estimate.

    Args:
        busy_images: unfinished images that occupy every inference worker.
        workers: the number of inference workers.
        max_images: the largest number of unfinished images.
    """

    def __init__(self, busy_images: int, workers: int, max_images: int) -> None:
        # At most half of the largest number: the images of a batch finish one after the other, and
        # at a higher limit, those after the first would not count.
        self._saturating_images = min(busy_images, math.ceil(max_images / 2))
        self._workers = workers
        self._batch_s_per_image = 0.0  # of the last batch, divided among the workers
        self._unfinished = 0
        self._saturated_s = 0.0
        self._finished = 0.0  # images that finished in `_saturated_s`
        self._updated_s = 0.0

    @property
    def unfinished(self) -> int:
        """Images that have been added and neither finished nor been cancelled."""
        return self._unfinished

    def add(self, images: int, now_s: float) -> None:
        """Add images to process.

        Args:
            images: how many.
            now_s: the current time, in seconds.
        """
        self._advance(now_s)
        self._unfinished += images

    def finish(self, now_s: float) -> None:
        """Count one image as finished."""
        if self._advance(now_s):
            self._finished += 1
        self._unfinished -= 1
        if self._saturated_s > WINDOW_S and self._finished >= 2 * self._saturating_images:
            self._saturated_s /= 2
            self._finished /= 2

    def cancel(self, images: int, now_s: float) -> None:
        """Remove images that will not finish."""
        self._advance(now_s)
        self._unfinished -= images

    def observe_batch(self, images: int, seconds: float) -> None:
        """Observe the duration of one batch in the model."""
        self._batch_s_per_image = seconds / images / self._workers

    def remaining_s(self, now_s: float) -> float:
        """Estimate the seconds until all unfinished images are finished; 0 if nothing is known."""
        self._advance(now_s)
        if self._finished >= self._saturating_images:
            return self._unfinished * self._saturated_s / self._finished
        return self._unfinished * self._batch_s_per_image

    def _advance(self, now_s: float) -> bool:
        """Account for the time since the last update; return whether it was saturated."""
        saturated = self._unfinished >= self._saturating_images
        if saturated:
            self._saturated_s += now_s - self._updated_s
        self._updated_s = now_s
        return saturated
