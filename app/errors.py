"""The exceptions that MuMIC raises on purpose. They do not depend on HTTP.

    MumicError
    ├── InputError            invalid input
    │   ├── ImageError        one image: empty, not an image, corrupt, too large
    │   ├── UnusableImagesError  no response is possible because of unusable images
    │   ├── ContradictingExamplesError  examples of a new label contradict each other
    │   ├── TextError         one text: empty, longer than the tokenizer's context
    │   ├── OptionError       the name or value of an option
    │   ├── LabelExistsError  a new label has the id or the text of another
    │   ├── LabelsReadOnlyError  the server allows no change of its labels
    │   ├── UnknownLabelError no label has this id
    │   ├── BuiltInLabelError a label that was not added at run time cannot be removed
    │   ├── UnauthorizedError a key or token is missing or wrong
    │   ├── RefusedCheckpointError  a checkpoint cannot replace the served one
    │   ├── NoIndexError      the server has no index of photos
    │   └── BodyError         the whole request body
    │       ├── MalformedBodyError
    │       ├── UnsupportedMediaError
    │       ├── SlowBodyError
    │       └── BodyTooLargeError
    ├── ServiceError          the service cannot answer now
    │   ├── OverloadedError   the queue is full
    │   ├── DeadlineError     the request's deadline has passed
    │   ├── DrainingError     the service is shutting down
    │   ├── NotReadyError     the model fails its readiness or liveness check
    │   └── InferenceError    the model failed on a batch
    └── FileError             a file that MuMIC reads or writes
        ├── LabelSetError     labels.yaml
        ├── CheckpointError   a checkpoint directory
        ├── DataError         a manifest or the photos that it lists
        ├── PhotoIndexError   an index of photos
        └── DiskError         a file cannot be written

`app.serving.http.problems` maps them to HTTP answers, `app.cli.exit_codes` to exit codes.
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
    "too_dark",
    "blurred",
    "text_heavy",
    "contradicting",
]


class MumicError(Exception):
    """Base class. The message is written for the person who can fix the cause."""


class InputError(MumicError):
    """Input from a caller is invalid."""


class ImageError(InputError):
    """One image cannot be used. The other images of the request are not affected.

    Args:
        code: stable, machine-readable name of the error.
        message: what is wrong and how to fix it.
    """

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnusableImagesError(InputError):
    """Images of a request cannot be used, and no response is possible without them.

    Args:
        failures: id and error of each unusable image, in request order; at least one.
    """

    def __init__(self, failures: Sequence[tuple[str, ImageError]]) -> None:
        super().__init__(_first_of(failures, "cannot be used"))
        self.failures = failures


class ContradictingExamplesError(InputError):
    """Examples of a new label contradict each other.

    Args:
        failures: id and error of each contradicting photo; at least one.
    """

    def __init__(self, failures: Sequence[tuple[str, ImageError]]) -> None:
        super().__init__(_first_of(failures, "contradict"))
        self.failures = failures


class TextError(InputError):
    """A text is empty or longer than the tokenizer's context."""


class OptionError(InputError):
    """An option is unknown or its value is not allowed.

    Args:
        field: the name of the option.
        message: what is wrong and how to fix it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class LabelExistsError(InputError):
    """A new label has the id or the text of another label.

    Args:
        field: the name of the option.
        message: which label, and how to avoid it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class LabelsReadOnlyError(InputError):
    """The server allows no change of its labels."""


class UnknownLabelError(InputError):
    """No label has this id."""


class BuiltInLabelError(InputError):
    """A label that was not added at run time cannot be removed at run time."""


class UnauthorizedError(InputError):
    """A request has no key or token, or a wrong one."""


class RefusedCheckpointError(InputError):
    """A checkpoint cannot replace the served one, which continues to serve."""


class NoIndexError(InputError):
    """A request needs an index of photos, and the server has none."""

    def __init__(self) -> None:
        super().__init__(
            "this server has no index of photos; make one with: mumic index FOLDER --out INDEX, "
            "and start the server with MUMIC_INDEX=INDEX"
        )


class BodyError(InputError):
    """The whole request body cannot be used."""


class MalformedBodyError(BodyError):
    """The body does not parse as its content type."""


class UnsupportedMediaError(BodyError):
    """The content type or the content coding is not supported.

    Args:
        message: what was sent and what to send instead.
        accept_encoding: the supported content codings, if the coding is the reason.
    """

    def __init__(self, message: str, accept_encoding: str | None = None) -> None:
        super().__init__(message)
        self.accept_encoding = accept_encoding


class SlowBodyError(BodyError):
    """The body did not arrive before the request's deadline."""


class BodyTooLargeError(BodyError):
    """The body is larger than the limit."""


class ServiceError(MumicError):
    """The service cannot answer at the moment."""


class OverloadedError(ServiceError):
    """The queue is full.

    Args:
        message: which limit is reached.
        retry_after_s: seconds after which the client should retry.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(ServiceError):
    """The request was not answered before its deadline.

    Args:
        allowed_s: the time that the request had, in seconds.
    """

    def __init__(self, allowed_s: float) -> None:
        super().__init__(f"not answered within {allowed_s:g} s; send fewer images or retry later")


class DrainingError(ServiceError):
    """The service is shutting down and accepts no new work."""

    def __init__(self) -> None:
        super().__init__("the service is shutting down; send the request to another instance")


class NotReadyError(ServiceError):
    """The model does not answer a health check, or gives a wrong result."""


class InferenceError(ServiceError):
    """The model failed on the batch that contained this image."""


class FileError(MumicError):
    """A file that MuMIC reads or writes cannot be used."""


class LabelSetError(FileError):
    """A label set is invalid; the message has the file and the line."""


class CheckpointError(FileError):
    """A checkpoint directory is incomplete, altered or unsafe."""


class DataError(FileError):
    """Training or evaluation data is invalid; the message has file, row and column."""


class PhotoIndexError(FileError):
    """An index of photos is missing, in use, damaged or of another model."""


class DiskError(FileError):
    """A file cannot be written, for example on a full disk; existing files stay intact."""


def _first_of(failures: Sequence[tuple[str, ImageError]], problem: str) -> str:
    """Return the first failure in words, and how many more images have the problem."""
    id, first = failures[0]
    others = f" ({len(failures) - 1} more {problem})" if len(failures) > 1 else ""
    return f"image {id!r}: {first.message}{others}"
