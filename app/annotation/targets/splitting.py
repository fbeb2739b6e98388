"""Assigns photos to the splits train, validation, test and, optionally, calibration (section 4)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256

from app.dataset.manifest import SPLITS, Annotation, Split
from app.errors import DataError

DEFAULT_SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def assign_splits(
    annotations: Sequence[Annotation],
    hashes: Mapping[str, str],
    shares: Mapping[Split, float] = DEFAULT_SHARES,
    seed: int = 0,
) -> dict[str, Split]:
    """Assign each photo to a split, stratified by its rarest label.

    Photos with the same content get the same split. The photos are sorted by the frequency of
    their rarest label, the rarest first; within a label a hash of seed and content gives the
    order. Each photo then goes to the split that is furthest below its share, so every run of
    consecutive photos, and with it every label, has about the same shares as the whole.

    Args:
        annotations: the photos, each file once, in any order.
        hashes: each file's content hash.
        shares: each split's share of the photos, 0 if it is missing; the shares are divided by
            their sum.
        seed: another seed gives another assignment.

    Returns:
        File to split.

    Raises:
        DataError: a split with a share above 0 gets no photo.
    """
    frequency = Counter(label for annotation in annotations for label in annotation.positive)
    duplicates: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        duplicates.setdefault(hashes[annotation.file], []).append(annotation)

    def sort_key(content: str) -> tuple[int, str, str]:
        labels = {label for annotation in duplicates[content] for label in annotation.positive}
        count, rarest = min(((frequency[label], label) for label in labels), default=(0, ""))
        order = sha256(f"{seed} {content}".encode()).hexdigest()
        return (count or len(annotations) + 1, rarest, order)

    total = sum(shares.values())
    wanted = [split for split in SPLITS if shares.get(split, 0) > 0]
    assigned = dict.fromkeys(wanted, 0)
    splits: dict[str, Split] = {}
    for content in sorted(duplicates, key=sort_key):
        size = len(duplicates[content])
        done = sum(assigned.values()) + size
        split = max(wanted, key=lambda name: shares[name] / total * done - assigned[name])
        assigned[split] += size
        splits |= dict.fromkeys((each.file for each in duplicates[content]), split)
    if empty := [split for split in wanted if not assigned[split]]:
        raise DataError(
            f"no photo is left for the split {empty[0]}: {len(duplicates)} different photos are "
            "too few"
        )
    return splits
