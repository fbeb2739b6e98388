"""Which part of the data a photo goes to (section 4)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256

from app.dataset.manifest import PARTS, Annotation, Part
from app.errors import DataError

SHARES: dict[Part, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split(
    annotations: Sequence[Annotation],
    hashes: Mapping[str, str],
    shares: Mapping[Part, float] = SHARES,
    seed: int = 0,
) -> dict[str, Part]:
    """Give each photo a part, stratified by its rarest label.

    Photos of the same content go to the same part. They are put in a row, the rarest label's
    photos first and in an order within a label that only seed and content decide, and each goes
    to the part that is furthest behind its share: so every stretch of the row, and with it every
    label, is shared out as the whole is.

    Args:
        annotations: the photos, each file once, in any order.
        hashes: each file's content hash.
        shares: each part's share of the photos; they are divided by their sum.
        seed: another one, another split.

    Returns:
        File to part.

    Raises:
        DataError: a part with a share gets no photo.
    """
    frequency = Counter(label for annotation in annotations for label in annotation.positive)
    copies: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        copies.setdefault(hashes[annotation.file], []).append(annotation)

    def place(content: str) -> tuple[int, str, str]:
        labels = {label for annotation in copies[content] for label in annotation.positive}
        count, rarest = min(((frequency[label], label) for label in labels), default=(0, ""))
        order = sha256(f"{seed} {content}".encode()).hexdigest()
        return (count or len(annotations) + 1, rarest, order)

    total = sum(shares.values())
    given = dict.fromkeys(PARTS, 0)
    parts: dict[str, Part] = {}
    for content in sorted(copies, key=place):
        size = len(copies[content])
        done = sum(given.values()) + size
        wanting = [part for part in PARTS if shares[part] > 0]
        part = max(wanting, key=lambda part: shares[part] / total * done - given[part])
        given[part] += size
        parts |= dict.fromkeys((annotation.file for annotation in copies[content]), part)
    if empty := [part for part in PARTS if shares[part] > 0 and not given[part]]:
        raise DataError(
            f"no photo is left for the part {empty[0]}: {len(copies)} different photos are too few"
        )
    return parts
