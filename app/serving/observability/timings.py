"""When each image passed each processing step."""

from dataclasses import dataclass


@dataclass(slots=True)
class Timings:
    """One image's timestamps, in seconds of `time.perf_counter`; 0 for a step not yet reached.

    Attributes:
        accepted: the request was admitted; the image began to wait for a decode thread.
        decode_began: cache lookup and decoding began.
        decode_ended: they ended, also if they failed.
        queue_began: the image began to wait for the model.
        infer_began: the image's batch started.
        infer_ended: the batch ended, also if it failed.
        batch_size: the number of images in the batch.
        outcome: `ok` or an error code.
    """

    accepted: float = 0.0
    decode_began: float = 0.0
    decode_ended: float = 0.0
    queue_began: float = 0.0
    infer_began: float = 0.0
    infer_ended: float = 0.0
    batch_size: int = 0
    outcome: str = ""

    @property
    def decode_s(self) -> float:
        """Seconds of decoding and resizing."""
        return self.decode_ended - self.decode_began

    @property
    def queue_s(self) -> float:
        """Seconds in the queue of the model; 0 for a cached image."""
        return self.infer_began - self.queue_began

    @property
    def infer_s(self) -> float:
        """Seconds of the image's batch in the model; 0 for a cached image."""
        return self.infer_ended - self.infer_began

    def intervals(self, now: float) -> list[tuple[str, float, float]]:
        """Return the name, start and end of each step that has begun; a running one ends `now`."""
        bounds = [
            ("decode", self.decode_began, self.decode_ended),
            ("queue", self.queue_began, self.infer_began),
            ("infer", self.infer_began, self.infer_ended),
        ]
        return [(name, began, ended or now) for name, began, ended in bounds if began]
