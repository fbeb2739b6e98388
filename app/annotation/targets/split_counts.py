"""Counts the photos of each label in each split, and warns of too few."""

from collections import Counter
from collections.abc import Iterator, Sequence

from app.dataset.manifest import OPTIONAL_SPLIT, SPLITS, UNLISTED_ADVICE, ManifestRow, Split

# `mumic thresholds --min-positives`: with fewer a threshold is a guess.
MIN_VALIDATION_PHOTOS = 10
CONSEQUENCES: dict[Split, str] = {
    "train": "not learned",
    "validation": "without average precision, and not served by default",
    "calibration": "with the pooled calibration",
    "test": "without average precision",
}


def split_table_lines(rows: Sequence[ManifestRow]) -> Iterator[str]:
    """Yield the lines of a table with the photos, and each label's + and -, per split.

    Args:
        rows: the photos.
    """
    photos = Counter(row.split for row in rows)
    splits = [split for split in SPLITS if photos[split] or split != OPTIONAL_SPLIT]
    yield f"{'photos':24}  {'  '.join(f'{split} {photos[split]:6d}' for split in splits)}"
    positives, negatives = _counts(rows)
    for label in _labels(rows):
        cells = (
            f"{split} {positives[label, split]:5d}+ {negatives[label, split]:5d}-"
            for split in splits
        )
        yield f"{label:24}  {'  '.join(cells)}"


def split_warnings(rows: Sequence[ManifestRow]) -> Iterator[str]:
    """Yield warnings of labels that cannot be learned, measured or served for lack of photos.

    Args:
        rows: the photos.
    """
    labels = _labels(rows)
    positives, negatives = _counts(rows)
    never = {
        "negative": [label for label in labels if not _total(negatives, label)],
        "positive": [label for label in labels if not _total(positives, label)],
    }
    if never["negative"] == labels:
        yield (
            "no label has a negative photo: a label that a row does not list is unknown, and "
            f"training, thresholds and evaluation refuse such a manifest. {UNLISTED_ADVICE}"
        )
        return
    for what, lacking in never.items():
        if lacking:
            yield (
                f"no {what} photo, so neither learned nor measured "
                f"({len(lacking)} of {len(labels)} labels): {', '.join(lacking)}"
            )
    known = [label for label in labels if not any(label in each for each in never.values())]
    for split in SPLITS:
        lacking = [
            label for label in known if not min(positives[label, split], negatives[label, split])
        ]
        if lacking and any(row.split == split for row in rows):
            yield (
                f"no positive or no negative photo in the split {split}, so {CONSEQUENCES[split]} "
                f"({len(lacking)} of {len(labels)} labels): {', '.join(lacking)}"
            )
    few = [
        label
        for label in known
        if 0
        < min(positives[label, "validation"], negatives[label, "validation"])
        < MIN_VALIDATION_PHOTOS
    ]
    if few:
        yield (
            f"fewer than {MIN_VALIDATION_PHOTOS} positive or negative photos in the split "
            "validation, so mumic thresholds can only guess the threshold and the label may "
            f"hardly ever be served, or on the wrong photos ({len(few)} of {len(labels)} labels): "
            f"{', '.join(few)}; add photos, or give validation a larger share with --shares"
        )


def _labels(rows: Sequence[ManifestRow]) -> list[str]:
    return sorted({label for row in rows for label in row.positive | row.negative})


def _counts(
    rows: Sequence[ManifestRow],
) -> tuple[Counter[tuple[str, Split]], Counter[tuple[str, Split]]]:
    positives = Counter((label, row.split) for row in rows for label in row.positive)
    negatives = Counter((label, row.split) for row in rows for label in row.negative)
    return positives, negatives


def _total(counts: Counter[tuple[str, Split]], label: str) -> int:
    return sum(counts[label, split] for split in SPLITS)
