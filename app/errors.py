"""Every exception that MuMIC raises on purpose. It knows no HTTP.

    MumicError
    ├── InputError            what a caller sent cannot be used
    │   ├── ImageError        one image: empty, not an image, corrupt, too large
    │   ├── UnusableImagesError  images without which a request has no answer
    │   ├── TextError         one text: empty, longer than the tokenizer's context
    │   ├── OptionError       an option's name or value
    │   ├── UnauthorizedError a token is missing or not the right one
    │   ├── RefusedCheckpointError  a checkpoint that was to be loaded
    │   └── BodyError         the request as a whole
    │       ├── MalformedBodyError
    │       ├── UnsupportedMediaError
    │       ├── SlowBodyError
    │       └── BodyTooLargeError
    ├── ServiceError          the service cannot answer now
    │   ├── OverloadedError   the queue is full
    │   ├── DeadlineError     the time is up
    │   ├── DrainingError     the service is stopping
    │   ├── NotReadyError     the model does not answer as it should
    │   └── InferenceError    the model failed on a batch
    └── FileError             a file of ours cannot be used
        ├── LabelSetError     labels.yaml
        ├── CheckpointError   a checkpoint directory
        ├── DataError         a manifest or the photos that it names
        └── DiskError         a run's state or result cannot be written

`app.serving.http.problems` maps them to HTTP answers, `app.cli.commands` to exit codes.
"""

from collections.abc import Sequence
from typing import Literal

ImageErrorCode = Literal[
    "empty",
    "invalid_base64",
    "url_not_allowed",
    "url_failed",
    "not_an_image",
    "unsupported_format",
    "corrupt",
    "too_many_bytes",
    "too_many_pixels",
]


class MumicError(Exception):
    """Root of the tree; its text is written for the person who caused it."""


class InputError(MumicError):
    """What a caller sent cannot be used."""


class ImageError(InputError):
    """One image cannot be used; its neighbours can.

    Args:
        code: the stable name of what is wrong.
        message: what is wrong and what would be right.
    """

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnusableImagesError(InputError):
    """Images of a request are unusable and nothing can be answered without them.

    Args:
        failures: id and error of each such image, in the order sent; at least one.
    """

    def __init__(self, failures: Sequence[tuple[str, ImageError]]) -> None:
        id, first = failures[0]
        others = f" ({len(failures) - 1} more cannot be used)" if len(failures) > 1 else ""
        super().__init__(f"the image {id!r}: {first.message}{others}")
        self.failures = failures


class TextError(InputError):
    """A text is empty or longer than the tokenizer's context."""


class OptionError(InputError):
    """An option is unknown or its value is not allowed.

    Args:
        field: the option's name.
        message: what is wrong and what would be right.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class UnauthorizedError(InputError):
    """A request has no token, or not the right one."""


class RefusedCheckpointError(InputError):
    """A checkpoint that was to answer from now on cannot; the old one does."""


class BodyError(InputError):
    """A request cannot be used as a whole."""


class MalformedBodyError(BodyError):
    """The body does not parse as what its content type says."""


class UnsupportedMediaError(BodyError):
    """The content type is none of those that carry images or options."""


class SlowBodyError(BodyError):
    """The body did not arrive within the request's time."""


class BodyTooLargeError(BodyError):
    """The body has more bytes than a request may have."""


class ServiceError(MumicError):
    """The service cannot answer now."""


class OverloadedError(ServiceError):
    """The queue is full.

    Args:
        message: what is full.
        retry_after_s: when to try again, in seconds.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(ServiceError):
    """The request was not answered within its time.

    Args:
        allowed_s: that time, in seconds.
    """

    def __init__(self, allowed_s: float) -> None:
        super().__init__(f"not answered within {allowed_s:g} s; send fewer images or try later")


class DrainingError(ServiceError):
    """The service is stopping and takes no new work."""

    def __init__(self) -> None:
        super().__init__("the service is stopping; send the request to another instance")


class NotReadyError(ServiceError):
    """The model does not answer a check, or not as it should."""


class InferenceError(ServiceError):
    """The model failed on the batch that held this image."""


class FileError(MumicError):
    """A file of ours cannot be used."""


class LabelSetError(FileError):
    """A label set is not valid; the text names the file and the line."""


class CheckpointError(FileError):
    """A checkpoint directory is incomplete, altered or unsafe."""


class DataError(FileError):
    """Training or evaluation data is not valid; the text names file, row and column."""


class DiskError(FileError):
    """A run's state or result cannot be written, as on a full disk; what was there is whole."""
