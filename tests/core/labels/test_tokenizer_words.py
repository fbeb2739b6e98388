"""Texts that the tokenizer cannot tell apart."""

import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.labels import render_distinct, tokenizer_words
from app.errors import OptionError

TOKENIZER = open_clip.SimpleTokenizer()
SAME = [
    ("cat", "Cat"),
    ("caf\u00e9", "cafe\u0301"),
    ("bed & breakfast", "bed &amp; breakfast"),
    ("bed & breakfast", "bed &amp;amp; breakfast"),
    ("two  rooms", "two\u00a0rooms"),
    ("room\t5", "room 5"),
    ("room5", "room 5"),
    ("T-shirt", "t - shirt"),
    ("chef's table", "CHEF 's table"),
    ("it\u2019s open", "it's open"),
    ("\ufb01re place", "fire place"),
    ("\uff26\uff2c\uff21\uff34", "flat"),
    ("caf\u00c3\u00a9", "caf\u00e9"),  # UTF-8 that was read as Latin-1
]
DIFFERENT = [
    ("cat", "cats"),
    ("caf\u00e9", "cafe"),
    ("stra\u00dfe", "strasse"),
    ("bed and breakfast", "bed & breakfast"),
    ("swimmingpool", "swimming pool"),
    ("room 5", "room 55"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_with_equal_tokens_have_equal_words(one: str, other: str) -> None:
    assert TOKENIZER.encode(one) == TOKENIZER.encode(other)
    assert tokenizer_words(one) == tokenizer_words(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_with_other_tokens_have_other_words(one: str, other: str) -> None:
    assert TOKENIZER.encode(one) != TOKENIZER.encode(other)
    assert tokenizer_words(one) != tokenizer_words(other)


PIECES = st.sampled_from(
    [*"aA5 \t'&;<>-_", "\u00e9", "e\u0301", "&amp;", "&lt;", "'s", "\u2019", "\u00a0", "\ufb01"]
)
TEXTS = st.lists(PIECES | st.characters(exclude_categories=["Cs"]), max_size=8).map("".join)


@given(TEXTS)
def test_words_are_those_of_the_tokenizer(text: str) -> None:
    words = tokenizer_words(text)
    assert TOKENIZER.encode(words) == TOKENIZER.encode(text)
    assert words == TOKENIZER.decode(TOKENIZER.encode(text)).strip()


@given(TEXTS, TEXTS)
def test_words_are_equal_exactly_where_tokens_are(one: str, other: str) -> None:
    same_tokens = TOKENIZER.encode(one) == TOKENIZER.encode(other)
    assert (tokenizer_words(one) == tokenizer_words(other)) == same_tokens


@pytest.mark.parametrize("template", ["{}", "a photo with {}", "{} on {}"])
@pytest.mark.parametrize(("one", "other"), SAME)
def test_labels_that_are_one_text_are_refused(template: str, one: str, other: str) -> None:
    with pytest.raises(OptionError, match="are the same text to the tokenizer") as caught:
        render_distinct(template, ["dog", one, "bird", other])
    assert caught.value.field == "labels"
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)


def test_repeated_label_is_refused() -> None:
    with pytest.raises(OptionError, match="'cat' is given twice; give each label once"):
        render_distinct("{}", ["cat", "dog", "cat"])


def test_distinct_labels_are_rendered_in_order() -> None:
    labels = list(dict.fromkeys(label for pair in DIFFERENT for label in pair))
    found = render_distinct("a photo with {}", labels)
    assert found == [f"a photo with {label}" for label in labels]
