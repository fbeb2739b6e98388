"""Embeds the texts that photos of rare labels are searched by (section 3.2)."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from app.core.classifier import Classifier
from app.core.files import nearest_names
from app.core.labels import render
from app.errors import DataError, OptionError


def embed_queries(
    wanted: Sequence[str], checkpoint: Path | None, dimension: int
) -> dict[str, Tensor]:
    """Embed search texts by the text tower of the checkpoint that embedded the archive.

    Args:
        wanted: `LABEL` for the label's own prompt, or `LABEL=TEXT` for the template with another
            text, such as `pets=dog`; a label may have several texts.
        checkpoint: the checkpoint directory; not needed if `wanted` is empty.
        dimension: D of the archive's embeddings.

    Returns:
        Label to its (Q, D) float32 unit rows, in the order of first mention.

    Raises:
        OptionError: a label is unknown, or the checkpoint is not given.
        CheckpointError: the checkpoint cannot be used.
        DataError: the checkpoint's embeddings have another dimension than the archive's.
    """
    if not wanted:
        return {}
    if checkpoint is None:
        raise OptionError("checkpoint", "give the one that made the embeddings, to search by text")
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    if classifier.dimension != dimension:
        raise DataError(
            f"{checkpoint}: its embeddings have {classifier.dimension} numbers, the archive's "
            f"{dimension}: they come from another model"
        )
    label_set = classifier.labels
    prompts: dict[str, list[str]] = {}
    for each in wanted:
        label, given, text = each.partition("=")
        if label not in label_set.ids:
            near = ", ".join(nearest_names(label, label_set.ids)) or "none"
            raise OptionError("rare", f"unknown label {label!r}; nearest known: {near}")
        if given and not text.strip():
            raise OptionError("rare", f"{each}: no text to search for after the =")
        own = label_set.prompts[label_set.index(label)]
        prompt = render(label_set.template, text) if text else own
        prompts.setdefault(label, []).append(prompt)
    return {label: classifier.embed_texts(texts) for label, texts in prompts.items()}
