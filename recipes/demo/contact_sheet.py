"""Draws photos with the labels that a running server serves for them, for a check by eye.

The photos are drawn at random from the test split, an equal number from each kind of scene
(`classes.yaml`). Writes pages of 24 photos as PNG, and `served.csv`, a table to note in which of
the served labels are right, wrong or absurd.
"""

import argparse
import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from evidence import PRODUCT, read_scenes, sources_and_classes
from manifest import all_names
from measure_served import results_of
from PIL import Image, ImageDraw, ImageFont

from app.core.labels import builtin_label_set
from app.dataset.manifest import ManifestRow, read_manifest

COLUMNS, ROWS = 6, 4
PHOTO_PX, CAPTION_PX, LINE_PX = 224, 116, 14


def everyday_photos(
    rows: Sequence[ManifestRow], photos: Path, count: int, seed: int
) -> list[ManifestRow]:
    """Draw photos of all scenes but product shots, as equally as the scenes allow."""
    scenes, place = read_scenes(), sources_and_classes(photos)
    by_scene: dict[str, list[ManifestRow]] = {}
    for row in rows:
        scene = scenes.scene(*place[row.file])
        if scene != PRODUCT:
            by_scene.setdefault(scene, []).append(row)
    generator = random.Random(seed)
    for members in by_scene.values():
        generator.shuffle(members)
    drawn: list[ManifestRow] = []
    while len(drawn) < count:
        for members in by_scene.values():
            if members and len(drawn) < count:
                drawn.append(members.pop())
    return drawn


def page(images: Sequence[bytes], results: Sequence[dict[str, Any]], first: int) -> Image.Image:
    """Draw one page: each photo with its number and its served labels, best first."""
    sheet = Image.new("RGB", (COLUMNS * PHOTO_PX, ROWS * (PHOTO_PX + CAPTION_PX)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for i, (data, result) in enumerate(zip(images, results, strict=True)):
        left, top = i % COLUMNS * PHOTO_PX, i // COLUMNS * (PHOTO_PX + CAPTION_PX)
        with Image.open(io.BytesIO(data)) as photo:
            small = photo.convert("RGB")
        small.thumbnail((PHOTO_PX - 6, PHOTO_PX - 6))
        sheet.paste(small, (left + 3, top + 3))
        lines = [f"#{first + i}"]
        lines += [f"{label['name']} {label['confidence']:.2f}" for label in result["labels"]]
        half = CAPTION_PX // LINE_PX
        for line, text in enumerate(lines[: 2 * half]):
            x = left + 4 + (line // half) * PHOTO_PX // 2
            draw.text((x, top + PHOTO_PX + line % half * LINE_PX), text[:19], "black", font)
    return sheet


def main() -> None:
    """Write the pages and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--part", dest="split", default="test", choices=("validation", "test"))
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(args.manifest, args.photos, all_names(builtin_label_set()))
    rows = [row for row in manifest if row.split == args.split]
    drawn = everyday_photos(rows, args.photos, args.count, args.seed)
    with httpx.Client(base_url=args.url, timeout=120) as client:
        results = list(results_of(client, "/predict", drawn, args.photos, {}))
    images = [(args.photos / row.file).read_bytes() for row in drawn]
    size = COLUMNS * ROWS
    for start in range(0, len(drawn), size):
        sheet = page(images[start : start + size], results[start : start + size], start + 1)
        sheet.save(args.out / f"page-{start // size + 1}.png")
    with (args.out / "served.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "file", "label", "confidence", "verdict"])
        for number, (row, result) in enumerate(zip(drawn, results, strict=True), 1):
            for label in result["labels"]:
                writer.writerow([number, row.file, label["id"], label["confidence"], ""])
    print(f"{len(drawn)} photos, {sum(len(r['labels']) for r in results)} labels served")


if __name__ == "__main__":
    main()
