"""Prompts of label texts that a client chose."""

from collections.abc import Sequence

from app.core.labels.label_set import render
from app.core.labels.tokenization import tokenizer_words
from app.errors import OptionError


def render_distinct(template: str, labels: Sequence[str]) -> list[str]:
    """Put labels into a template, and refuse two that the tokenizer reads as the same text.

    Their scores would be equal, and with `softmax` each would get a share of what the text has.

    Args:
        template: a text with "{}", e.g. "a photo with {}".
        labels: the labels' texts.

    Returns:
        A prompt per label.

    Raises:
        OptionError: the template has no "{}", or two labels are the same text.
    """
    prompts = [render(template, label) for label in labels]
    label_of: dict[str, str] = {}
    for label, prompt in zip(labels, prompts, strict=True):
        words = tokenizer_words(prompt)
        if words in label_of:
            raise OptionError("labels", _repetition(label_of[words], label))
        label_of[words] = label
    return prompts


def _repetition(first: str, second: str) -> str:
    if first == second:
        return f"{first!r} is given twice; give each label once"
    return (
        f"{first!r} and {second!r} are the same text to the tokenizer, which ignores case, white "
        "space, HTML escapes and Unicode normalisation; give one of them"
    )
