"""The example photos of a new label: checked, and fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.applications.new_labels.new_label import MAX_EXAMPLES, NewLabel, fit_label
from app.core.classifier import Classifier
from app.core.labels import Label
from app.errors import ContradictingExamplesError, ImageError, OptionError

REMEDY = "leave it out, or send accept_contradictions to fit the label to all photos"


@dataclass(frozen=True, slots=True)
class ExamplePhoto:
    """One photo that shows a new label, or a counter-example that does not.

    Attributes:
        id: by which messages name it.
        sha256: of the bytes of its file.
        is_counter_example: which of the two.
    """

    id: str
    sha256: str
    is_counter_example: bool = False


def check_examples(photos: Sequence[ExamplePhoto]) -> None:
    """Check the photos of a new label before they are embedded.

    Raises:
        OptionError: there are too many, only counter-examples, or the same photo twice.
    """
    examples = [photo for photo in photos if not photo.is_counter_example]
    for name, count in (
        ("images", len(examples)),
        ("counter_examples", len(photos) - len(examples)),
    ):
        if count > MAX_EXAMPLES:
            raise OptionError(name, f"{count} photos were sent; at most {MAX_EXAMPLES} are used")
    if photos and not examples:
        raise OptionError("counter_examples", "all photos are; send at least one example too")
    seen: dict[str, ExamplePhoto] = {}
    for photo in photos:
        other = seen.setdefault(photo.sha256, photo)
        if other is photo:
            continue
        if other.is_counter_example != photo.is_counter_example:
            problem = "one as an example, the other as a counter-example; send it as one of them"
        else:
            problem = "send it once"
        raise OptionError("images", f"{other.id!r} and {photo.id!r} are the same photo; {problem}")


def fit_examples(
    classifier: Classifier,
    label: Label,
    photos: Sequence[ExamplePhoto],
    embeddings: Tensor,
    *,
    accept_contradictions: bool,
) -> NewLabel:
    """Fit a new label to its photos.

    Args:
        classifier: the checkpoint that the label is added to.
        label: from `make_label`.
        photos: n photos, from none to `MAX_EXAMPLES` of each kind.
        embeddings: (n, D) float32 unit rows.
        accept_contradictions: whether to use photos that contradict the others.

    Raises:
        ContradictingExamplesError: photos contradict the others.
        OptionError: there are photos, and nothing to compare them with.
        TextError: the prompt is longer than the tokenizer's context.
    """
    is_counter = torch.tensor([photo.is_counter_example for photo in photos], dtype=torch.bool)
    new, contradictions = fit_label(
        classifier, label, embeddings[~is_counter], embeddings[is_counter]
    )
    if contradictions and not accept_contradictions:
        places = {
            kind: [photo for photo in photos if photo.is_counter_example == kind]
            for kind in (False, True)
        }
        raise ContradictingExamplesError(
            [
                (
                    places[each.is_counter_example][each.photo].id,
                    ImageError("contradicting", f"{each.message}; {REMEDY}"),
                )
                for each in contradictions
            ]
        )
    return new
