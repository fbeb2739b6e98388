"""Measures a checkpoint through a running server, from its responses only.

Sends the photos of one split of a manifest to the server and prints the average precision per name:
from `/zero-shot` with the plain English names and, for names that correspond to a label, from
`/predict` with all scores.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scored import SCORED

from app.core.labels import builtin_label_set
from app.dataset.manifest import ManifestRow, NameDefinition, load_names, read_manifest
from app.evaluation.metrics import (
    average_precision,
    bootstrap_average_precision,
    draw_bootstrap_samples,
    macro_map,
    percentile_interval,
)
from app.evaluation.metrics.ranking import lift_over_chance

HERE = Path(__file__).parent
BATCH_SIZE = 32


def results_of(
    client: httpx.Client,
    path: str,
    rows: Sequence[ManifestRow],
    photos: Path,
    options: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield one result per photo, in order.

    Raises:
        SystemExit: the server cannot use a photo.
    """
    starts = range(0, len(rows), BATCH_SIZE)
    for start in track(starts, f"POST {path}"):
        batch = rows[start : start + BATCH_SIZE]
        files = [("images", (row.file, (photos / row.file).read_bytes())) for row in batch]
        response = client.post(path, files=files, data=options).raise_for_status()
        for result in response.json()["results"]:
            if result["status"] != "ok":
                raise SystemExit(f"{result['id']}: {result['error']['message']}")
            yield result


def zero_shot_scores(
    client: httpx.Client,
    rows: Sequence[ManifestRow],
    photos: Path,
    names: dict[str, NameDefinition],
) -> NDArray[np.float64]:
    """Return the (N, names) confidences of /zero-shot for the plain English names."""
    texts = [name.text for name in names.values()]
    results = results_of(client, "/zero-shot", rows, photos, {"labels": texts})
    by_text = [{s["label"]: s["confidence"] for s in result["scores"]} for result in results]
    return np.array([[scores[text] for text in texts] for scores in by_text])


def predict_scores(
    client: httpx.Client,
    rows: Sequence[ManifestRow],
    photos: Path,
    names: dict[str, NameDefinition],
) -> NDArray[np.float64]:
    """Return the (N, names) confidences of /predict for the labels of the names."""
    labels = [name.label for name in names.values()]
    options: dict[str, Any] = {"all_scores": "true", "include_labels": labels}
    results = results_of(client, "/predict", rows, photos, options)
    by_id = [{label["id"]: label["confidence"] for label in r["labels"]} for r in results]
    return np.array([[scores[label] for label in labels] for scores in by_id])


def known_targets(rows: Sequence[ManifestRow], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the (N, names) targets: 1 present, 0 absent, -1 unknown."""
    return np.array(
        [
            [1 if n in row.positive else 0 if n in row.negative else -1 for n in names]
            for row in rows
        ]
    )


def main() -> None:
    """Measure and print; with --json, also write all values to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--part", dest="split", default="test", choices=("validation", "test"))
    parser.add_argument("--only", help="print one name's AP, share and lift over chance")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = load_names(HERE / "names.yaml", builtin_label_set())
    rows = [r for r in read_manifest(args.manifest, args.photos, names) if r.split == args.split]
    mapped = {key: name for key, name in names.items() if name.label}
    report: dict[str, object] = {}
    with httpx.Client(base_url=args.url, timeout=120) as client:
        card = client.get("/model").raise_for_status().json()
        print(f"{card['name']} {card['version']}, {args.split}: {len(rows)} photos")
        for title, subset, measure in (
            ("/zero-shot, plain English names", names, zero_shot_scores),
            ("/predict, mapped labels", mapped, predict_scores),
        ):
            if args.only and title.startswith("/predict"):
                continue
            keys = list(subset)
            scores, targets = measure(client, rows, args.photos, subset), known_targets(rows, keys)
            ap = average_precision(targets, scores)
            drawn = bootstrap_average_precision(
                targets, scores, draw_bootstrap_samples(len(targets))
            )
            lift = lift_over_chance(targets, ap)
            values = dict(zip(keys, ap.tolist(), strict=True))
            print(f"\n{title}\n{'name':14}{'positives':>10}{'AP':>8}{'95 %':>16}{'lift':>8}")
            for i, key in enumerate(keys):
                if args.only and key != args.only:
                    continue
                low, high = percentile_interval(drawn[:, i])
                positives = int((targets[:, i] == 1).sum())
                print(f"{key:14}{positives:10}{ap[i]:8.3f}{low:8.3f}-{high:.3f}{lift[i]:8.3f}")
            scored = [values[key] for key in SCORED if key in values]
            if not args.only:
                print(f"macro mAP over {len(scored)} scored classes: {macro_map(scored):.4f}")
            report[title] = values
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
