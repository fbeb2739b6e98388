"""What an image has been through on its way to its scores, and when."""

from dataclasses import dataclass


@dataclass(slots=True)
class Timings:
    """One image's way. Times are seconds of `time.perf_counter`, 0 for what has not come yet.

    Attributes:
        accepted: its request was, and it began to wait for a thread that decodes.
        decode_began: looked up or decoded from now on.
        decode_ended: likewise, well or not.
        queue_began: waiting for the model from now on.
        infer_began: its batch did, which ends the wait.
        infer_ended: likewise, well or not.
        batch_size: images in its batch.
        outcome: `ok` or the code of what was wrong with it.
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
        """Seconds of waiting for the model; 0 for an image that did not need it."""
        return self.infer_began - self.queue_began

    @property
    def infer_s(self) -> float:
        """Seconds of its batch in the model; 0 for an image that did not need it."""
        return self.infer_ended - self.infer_began

    def intervals(self, now: float) -> list[tuple[str, float, float]]:
        """The name, begin and end of each stage that has begun; what goes on ends now."""
        bounds = [
            ("decode", self.decode_began, self.decode_ended),
            ("queue", self.queue_began, self.infer_began),
            ("infer", self.infer_began, self.infer_ended),
        ]
        return [(name, began, ended or now) for name, began, ended in bounds if began]
