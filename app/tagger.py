"""Tags, embeds and scores photos in the calling process, without a server."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.applications.gallery import Quality, measure_quality
from app.core.classifier import Classifier
from app.core.images import ImageLimits, Pixels, load_pixels, read_photo_file, stack
from app.core.labels import Tag, make_selection, render_distinct
from app.core.model import Scoring, rank_texts
from app.errors import ImageError, OptionError
from app.settings import SHIPPED_CHECKPOINT

Image = str | Path | bytes
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class TaggedPhoto:
    """The labels of one photo.

    Attributes:
        id: the path as given; for bytes the index in the list.
        width: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        height: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        tags: the selected labels, highest confidence first.
        error: why the photo cannot be used; None if it was tagged.
    """

    id: str
    width: int = 0
    height: int = 0
    tags: tuple[Tag, ...] = ()
    error: ImageError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """The embedding of one photo.

    Attributes:
        id: the path as given; for bytes the index in the list.
        width: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        height: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        embedding: (D,) float32, unit length; None if the photo cannot be used.
        error: why the photo cannot be used; None if it was embedded.
    """

    id: str
    width: int = 0
    height: int = 0
    embedding: NDArray[np.float32] | None = None
    error: ImageError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredPhoto:
    """What gallery selection needs of one photo.

    Attributes:
        id: the path as given; for bytes the index in the list.
        width: in pixels, after EXIF orientation.
        height: in pixels, after EXIF orientation.
        embedding: (D,) float32, unit length.
        logits: (C,) float32, for the label set.
        quality: of the photo.
    """

    id: str
    width: int
    height: int
    embedding: Tensor
    logits: Tensor
    quality: Quality


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The score of one label text.

    Attributes:
        label: the text as given.
        confidence: in [0, 1].
    """

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ScoredPhoto:
    """The scores of one photo.

    Attributes:
        id: the path as given; for bytes the index in the list.
        width: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        height: in pixels, after EXIF orientation; 0 if the photo cannot be used.
        scores: one score per label text, highest first.
        error: why the photo cannot be used; None if it was scored.
    """

    id: str
    width: int = 0
    height: int = 0
    scores: tuple[LabelScore, ...] = ()
    error: ImageError | None = None


class Tagger:
    """Runs a checkpoint on photos: paths or the bytes of image files.

    Every method takes a list of photos and returns one result per photo, in the same order. A
    photo that cannot be used has an error in its result and does not affect the others. Results
    equal those of the server up to float rounding. All methods are thread-safe.

    Args:
        classifier: the loaded checkpoint.
        limits: the largest photo that is decoded.
        batch_size: maximum photos per model call; by default what suits the device.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        limits: ImageLimits | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.classifier = classifier
        self._limits = limits or ImageLimits()
        self._batch_size = batch_size or classifier.batch_size

    def tag(
        self,
        images: Sequence[Image],
        *,
        min_confidence: float | None = None,
        max_labels: int | None = None,
        include_labels: Collection[str] = (),
        include_categories: Collection[str] = (),
        exclude_labels: Collection[str] = (),
        exclude_categories: Collection[str] = (),
        all_scores: bool = False,
    ) -> list[TaggedPhoto]:
        """Tag photos with the checkpoint's labels, as POST /predict does.

        Args:
            images: paths or the bytes of image files.
            min_confidence: one threshold in [0, 1] for all labels, also for those that are not
                served by default; by default each label's own.
            max_labels: maximum labels per photo, at least 1; by default all.
            include_labels: label ids to keep.
            include_categories: categories to keep.
            exclude_labels: label ids to remove afterwards.
            exclude_categories: categories to remove afterwards.
            all_scores: return every label that the filters keep, without a threshold.

        Raises:
            OptionError: an option is out of range, a label or category is unknown, or a path is
                not a file.
        """
        for name, names in (
            ("include_labels", include_labels),
            ("include_categories", include_categories),
            ("exclude_labels", exclude_labels),
            ("exclude_categories", exclude_categories),
        ):
            _check_list(name, names, str)
        if min_confidence is not None and not (
            isinstance(min_confidence, int | float) and 0 <= min_confidence <= 1
        ):
            raise OptionError("min_confidence", f"{min_confidence!r} is not a number in [0, 1]")
        if max_labels is not None and not (isinstance(max_labels, int) and max_labels >= 1):
            raise OptionError("max_labels", f"{max_labels!r} is not an integer of at least 1")
        if all_scores and (min_confidence is not None or max_labels is not None):
            raise OptionError("all_scores", "cannot be combined with min_confidence or max_labels")
        selection = make_selection(
            self.classifier.labels,
            min_confidence=min_confidence,
            max_labels=max_labels,
            include_labels=include_labels,
            include_categories=include_categories,
            exclude_labels=exclude_labels,
            exclude_categories=exclude_categories,
            all_scores=all_scores,
        )

        def logits(pixels: Tensor) -> Tensor:
            return self.classifier.score_images(pixels).logits

        return [
            TaggedPhoto(id, error=output)
            if isinstance(output, ImageError)
            else TaggedPhoto(id, output.width, output.height, tuple(selection(output.row)))
            for id, output in self._run(images, logits)
        ]

    def embed(self, images: Sequence[Image]) -> list[EmbeddedPhoto]:
        """Embed photos, as POST /embed does.

        Args:
            images: paths or the bytes of image files.

        Raises:
            OptionError: a path is not a file.
        """
        return [
            EmbeddedPhoto(id, error=output)
            if isinstance(output, ImageError)
            else EmbeddedPhoto(id, output.width, output.height, output.row.numpy())
            for id, output in self._run(images, self.classifier.embed_images)
        ]

    def measure(self, images: Sequence[Image]) -> list[MeasuredPhoto | ImageError]:
        """Embed and score photos and measure their quality, for gallery selection.

        Args:
            images: paths or the bytes of image files.

        Returns:
            A photo or an error for each image, in order.

        Raises:
            OptionError: a path is not a file.
        """

        def measured(pixels: Tensor) -> list[tuple[Tensor, Tensor, Quality]]:
            scored = self.classifier.score_images(pixels)
            qualities = map(measure_quality, pixels)
            return list(zip(scored.embeddings, scored.logits, qualities, strict=True))

        return [
            output
            if isinstance(output, ImageError)
            else MeasuredPhoto(id, output.width, output.height, *output.row)
            for id, output in self._run(images, measured)
        ]

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts without a template, as POST /embed does.

        Args:
            texts: at least one text.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            OptionError: there is no text.
            TextError: a text is empty or longer than the tokenizer's context.
        """
        _check_list("texts", texts, str)
        texts = list(texts)
        if not texts:
            raise OptionError("texts", "give at least one text")
        rows: NDArray[np.float32] = self.classifier.embed_texts(texts).numpy()
        return rows

    def zero_shot(
        self,
        images: Sequence[Image],
        labels: Sequence[str],
        *,
        template: str = "a photo with {}",
        scoring: Scoring | None = None,
    ) -> list[ScoredPhoto]:
        """Score photos against any label texts, as POST /zero-shot does.

        Args:
            images: paths or the bytes of image files.
            labels: at least one text; no text twice.
            template: the text around each label; must contain `{}`.
            scoring: `calibrated` (each label independently; one that fits nothing stays low),
                `sigmoid` (each label independently, as trained), `softmax` (exactly one of the
                labels) or `pair` (each label against the text `a photo`); by default `calibrated`
                if the checkpoint has a calibration, otherwise `sigmoid`.

        Raises:
            OptionError: there is no label, a label is empty, two labels are the same text to the
                tokenizer, the template contains no `{}`, the scoring is unknown, the checkpoint
                has no calibration for `calibrated`, or a path is not a file.
            TextError: a text is longer than the tokenizer's context.
        """
        _check_list("labels", labels, str)
        labels = list(labels)
        if not labels:
            raise OptionError("labels", "give at least one label")
        if not all(label.strip() for label in labels):
            raise OptionError("labels", "a label must not be empty")
        if not isinstance(template, str):
            raise OptionError("template", f"must be a text, got {template!r}")
        if scoring is not None and scoring not in get_args(Scoring):
            raise OptionError("scoring", f"must be {_words(get_args(Scoring))}, got {scoring!r}")
        method = self.classifier.choose_scoring(scoring)
        texts = self.classifier.embed_texts(render_distinct(template, labels))

        def scored(embedding: Tensor) -> tuple[LabelScore, ...]:
            scores = self.classifier.zero_shot(embedding[None], texts, method)[0]
            return tuple(
                LabelScore(labels[column], confidence) for column, confidence in rank_texts(scores)
            )

        return [
            ScoredPhoto(id, error=output)
            if isinstance(output, ImageError)
            else ScoredPhoto(id, output.width, output.height, scored(output.row))
            for id, output in self._run(images, self.classifier.embed_images)
        ]

    def _run(
        self, images: Sequence[Image], model: Callable[[Tensor], Iterable[Row]]
    ) -> Iterator[tuple[str, "_Output[Row] | ImageError"]]:
        """Run a model on the photos, batch by batch; yield an id and an outcome per photo.

        Args:
            images: paths or the bytes of image files.
            model: (B, 3, S, S) uint8 to B rows, tensors on the CPU.

        Raises:
            OptionError: a path is not a file; raised before the first photo is decoded.
        """
        _check_list("images", images, str, Path, bytes)
        images = list(images)
        paths = [Path(image) for image in images if not isinstance(image, bytes)]
        if missing := [str(path) for path in paths if not path.exists()]:
            raise OptionError("images", f"no such file: {', '.join(missing)}")
        if others := [str(path) for path in paths if not path.is_file()]:
            raise OptionError("images", f"not a file, give photo files: {', '.join(others)}")
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            photos = [self._decode(image) for image in batch]
            pixels = [photo.values for photo in photos if isinstance(photo, Pixels)]
            rows = iter(model(stack(pixels)) if pixels else ())
            for index, (image, photo) in enumerate(zip(batch, photos, strict=True), start):
                id = str(index) if isinstance(image, bytes) else str(image)
                if isinstance(photo, ImageError):
                    yield id, photo
                else:
                    yield id, _Output(photo.width, photo.height, next(rows))

    def _decode(self, image: Image) -> Pixels | ImageError:
        try:
            data = image if isinstance(image, bytes) else read_photo_file(Path(image), self._limits)
            return load_pixels(data, self._limits, self.classifier.preprocess)
        except ImageError as error:
            return error
        except OSError as error:
            raise OptionError("images", f"cannot read {image!s}: {error.strerror}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Output(Generic[Row]):
    """The model's output for one photo, and the photo's size in pixels."""

    width: int
    height: int
    row: Row


def load(
    directory: str | Path | None = None, *, device: str = "auto", precision: str = "auto"
) -> Tagger:
    """Load a checkpoint directory.

    Args:
        directory: the checkpoint; by default the shipped demonstration checkpoint.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        CheckpointError: the directory is invalid or the model fails its golden inputs.
        LabelSetError: labels.yaml is invalid.
        OptionError: the device or precision is unknown or not available.
    """
    path = SHIPPED_CHECKPOINT if directory is None else Path(directory)
    return Tagger(Classifier.load(path, device=device, precision=precision))


def _check_list(name: str, values: object, *kinds: type) -> None:
    """Check the type of a list and of its items.

    A single text would otherwise be read as a list of its characters.

    Raises:
        OptionError: it is not a list, or an item is not of one of the kinds.
    """
    if isinstance(values, str | bytes | Path) or not isinstance(values, Collection):
        raise OptionError(name, "give a list, as in [value]")
    for item in values:
        if not isinstance(item, kinds):
            expected = _words([kind.__name__ for kind in kinds])
            raise OptionError(name, f"an item must be {expected}, got {type(item).__name__}")


def _words(values: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last
