"""Finds retired terms in the tracked text files: `python -m tests.support.retired_terms`.

Each term is a regular expression, matched without regard to case, with what to write instead.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.imports import ROOT

TERMS = {
    r"\bwait(s|ed|ing)? for company\b|\bcompany\b(?! (name|policy))": "batching linger (linger_s)",
    r"(?<![a-z])lanes?(?![a-z])": "inference worker",
    r"\b(tak(e|es|ing) (their )?turns|turns? of (a|the) (request|check|image))\b": "fair queueing",
    r"\btold\b": "logged, reported, exported",
    r"(?<!\.)\btells?\b(?! apart|\()": "reports, logs, exports",
    r"\b(alerts? (that )?rings?|rings? (an|the) alert|it rings|does not ring)\b": "fires",
    r"\bbeside\b": "concurrently, next to, off the event loop",
    r"\bin (thousands of |too |so |many )*(many )?pieces\b|\bMAX_PIECES\b": "structural elements",
    r"(?<!W3C's )(?<!\.)\bdrafts?\b": "staging directory",
    r"\bthe part (train|validation|test)\b|\b(train|validation|test) part\b": "split",
    r"\bcontestants?\b": "compared model",
    r"\blone(ly)?\b(?! surrogate)": "single in-flight image",
    r"\bmisspel(t|led)\b": "unknown",
    r"\blet(s|ting)? go\b": "close, closed",
    r"\bpassed over\b": "ignore, skip",
    r"\bas it comes\b": "by default",
    r"\bin the place of\b": "instead of",
    r"\bheld (to|against)\b|\bhold(s|ing)? \w+( \w+)? (to|against) (what|its|the card)\b": (
        "verified against, compared with"
    ),
    r"(?<!there )\b(is|are) (?-i:none)(?= *([.,;:)`\"]|$))": "is invalid, is unknown",
    r"\b(which room|its room|the rooms?)\b(?! of)": "package, module",
    r"(?<!\bone )(?<!\btwo )(?<!\brow )\bat a time\b": "concurrently, per batch",
    r"\bintakes?\b": "request dependencies",
    r"\b(hears?|heard) of\b": "receives",
    r"(?<!# )\bnobody\b": "no one; or name the subject",
    r"\bas \w+( \w+)? has (it|them)\b": "as defined by",
}
PATTERNS = {re.compile(term, re.IGNORECASE): instead for term, instead in TERMS.items()}
NOT_CHECKED = (
    "LICENSE",
    "app/labelsets/",  # texts that checkpoints were trained with
    "constraints.txt",
    "tests/support/retired_terms.py",
    "weights/mumic-demo/labels.yaml",  # its hash is part of the checkpoint
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A retired term in a file.

    Attributes:
        path: the file.
        line: its line number, from 1.
        found: the text that matched.
        instead: what to write instead.
    """

    path: Path
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found!r} -> {self.instead}"


def tracked_texts() -> Iterator[Path]:
    """Yield the tracked files that hold UTF-8 text, relative to the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and not name.startswith(NOT_CHECKED) and (ROOT / name).is_file():
            yield Path(name)


def retired_in(path: Path, text: str) -> Iterator[Hit]:
    """Find the retired terms in a text; a term may continue on the next line.

    Args:
        path: the file that holds the text.
        text: its contents.
    """
    for pattern, instead in PATTERNS.items():
        for match in pattern.finditer(text):
            yield Hit(path, text.count("\n", 0, match.start()) + 1, match[0], instead)


def retired_in_files(paths: Iterable[Path]) -> Iterator[Hit]:
    """Find the retired terms in files; files that are not UTF-8 text are skipped.

    Args:
        paths: relative to the repository.
    """
    for path in paths:
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        yield from sorted(retired_in(path, text), key=lambda hit: hit.line)


if __name__ == "__main__":
    hits = list(retired_in_files(tracked_texts()))
    for hit in hits:
        sys.stdout.write(f"{hit}\n")
    sys.stdout.write(f"{len(hits)} retired terms\n")
    sys.exit(bool(hits))
