"""Texts as CLIP's tokenizer reads them."""

import html
from functools import lru_cache

import ftfy
import regex

# open_clip's SimpleTokenizer encodes each of these by itself.
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
MAX_CACHED_TEXTS = 10_000


@lru_cache(MAX_CACHED_TEXTS)
def tokenizer_words(text: str) -> str:
    """Return the words that CLIP's tokenizer reads in a text, joined by spaces.

    Two texts with the same words have the same tokens, and so the same embedding. The tokenizer
    ignores case, white space, HTML escapes and Unicode normalisation. This repeats its cleaning,
    since importing it imports torch, which commands that only read labels do without.

    Args:
        text: any text.
    """
    return " ".join(WORD.findall(" ".join(_fixed(text).split()).lower()))


def _fixed(text: str) -> str:
    """Return the text without escapes and encoding errors, as ftfy repairs them."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text  # the usual case, in which cleaning is slow and changes nothing
    return html.unescape(html.unescape(ftfy.fix_text(text)))
