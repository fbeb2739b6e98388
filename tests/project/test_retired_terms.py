"""The finder of retired terms (`make words` runs it over all files)."""

from pathlib import Path

import pytest

from tests.support.retired_terms import TERMS, retired_in, tracked_texts

PAGE = Path("docs/page.md")
# Built from two halves, because `make words` reads this file too.
EXAMPLES = ("lan" + "es", "a misspel" + "t option", "as it com" + "es", "let " + "go")
PLAIN = (
    "multipart parts",
    "a room with a view",
    "study.tell(trial)",
    "the company name",
    "one row at a time",
    "planes and string rings",
    "if width is None: return",
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_retired_term_is_found_with_its_line(text: str) -> None:
    (hit,) = retired_in(PAGE, f"first line\n{text}\n")
    assert (hit.path, hit.line) == (PAGE, 2)
    assert hit.instead in TERMS.values()


@pytest.mark.parametrize("text", PLAIN)
def test_plain_sentence_has_no_hit(text: str) -> None:
    assert not list(retired_in(PAGE, text))


def test_tracked_texts_hold_code_and_docs() -> None:
    assert {Path("README.md"), Path("app/main.py")} <= set(tracked_texts())
