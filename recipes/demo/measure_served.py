"""Measures a checkpoint through a running server, from its responses only.

Sends the photos of one split of a manifest to the server and prints

- for the older photos, the average precision per name by `/zero-shot` with the plain English names,
  their macro mAP and GAP;
- for the travel photos, the average precision per label by `/predict` with all scores, and the
  precision and recall of what `/predict` serves by default, where the truth is known.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from manifest import TRAVEL, all_names
from numpy.typing import NDArray
from rich.progress import track
from scored import SCORED

from app.core.labels import builtin_label_set
from app.dataset.manifest import ManifestRow, NameDefinition, load_names, read_manifest
from app.evaluation.metrics import (
    average_precision,
    bootstrap_average_precision,
    draw_bootstrap_samples,
    global_average_precision,
    macro_map,
    percentile_interval,
)

HERE = Path(__file__).parent
BATCH_SIZE = 32
MIN_POSITIVES = 8  # of a label in the macro averages
Floats = NDArray[np.float64]
Table = dict[str, dict[str, float]]


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


def known_targets(rows: Sequence[ManifestRow], names: Sequence[str]) -> Floats:
    """Return the (N, names) targets: 1 present, 0 absent, -1 unknown."""
    return np.array(
        [
            [1.0 if n in row.positive else 0.0 if n in row.negative else -1.0 for n in names]
            for row in rows
        ]
    )


def print_table(names: Sequence[str], targets: Floats, scores: Floats, only: str | None) -> Table:
    """Print and return the average precision of each name that has one, with its interval."""
    ap = average_precision(targets, scores)
    drawn = bootstrap_average_precision(targets, scores, draw_bootstrap_samples(len(targets)))
    table: Table = {}
    print(f"{'name':24}{'positives':>10}{'negatives':>10}{'AP':>8}{'95 %':>16}")
    for i, name in enumerate(names):
        if np.isnan(ap[i]) or (only and name != only):
            continue
        low, high = percentile_interval(drawn[:, i])
        positives, negatives = int((targets[:, i] == 1).sum()), int((targets[:, i] == 0).sum())
        print(f"{name:24}{positives:10}{negatives:10}{ap[i]:8.3f}{low:8.3f}-{high:.3f}")
        table[name] = {"ap": float(ap[i]), "low": low, "high": high}
        table[name] |= {"positives": positives, "negatives": negatives}
    return table


def measure_names(
    client: httpx.Client,
    rows: Sequence[ManifestRow],
    photos: Path,
    names: Mapping[str, NameDefinition],
    only: str | None,
) -> dict[str, Any]:
    """Measure the plain English names by /zero-shot."""
    texts = [name.text for name in names.values()]
    results = results_of(client, "/zero-shot", rows, photos, {"labels": texts})
    by_text = [{s["label"]: s["confidence"] for s in result["scores"]} for result in results]
    scores = np.array([[each[text] for text in texts] for each in by_text])
    keys, targets = list(names), known_targets(rows, list(names))
    print("\n/zero-shot, plain English names")
    table = print_table(keys, targets, scores, only)
    if only:
        return {"table": table}
    of_scored = [keys.index(key) for key in SCORED]
    measured = {
        "macro_map": macro_map([table[key]["ap"] for key in SCORED]),
        "gap": global_average_precision(targets[:, of_scored], scores[:, of_scored]),
        "gap_of_all": global_average_precision(targets, scores),
    }
    print(
        f"the {len(SCORED)} scored classes: macro mAP {measured['macro_map']:.4f}, GAP "
        f"{measured['gap']:.4f}; GAP of all names {measured['gap_of_all']:.4f}"
    )
    return {"table": table, **measured}


def measure_labels(
    client: httpx.Client, rows: Sequence[ManifestRow], photos: Path, ids: Sequence[str]
) -> dict[str, Any]:
    """Measure the labels by /predict, with all scores and as served by default."""
    every = [
        {label["id"]: label["confidence"] for label in result["labels"]}
        for result in results_of(client, "/predict", rows, photos, {"all_scores": "true"})
    ]
    served = [
        {label["id"] for label in result["labels"]}
        for result in results_of(client, "/predict", rows, photos, {})
    ]
    scores = np.array([[each[id] for id in ids] for each in every])
    answered = np.array([[id in each for id in ids] for each in served])
    targets = known_targets(rows, ids)
    print("\n/predict")
    table = print_table(ids, targets, scores, None)
    counted = [id for id in table if table[id]["positives"] >= MIN_POSITIVES]
    lowest = min(counted, key=lambda id: table[id]["ap"])
    columns = [list(ids).index(id) for id in counted]
    right, wrong = answered & (targets == 1), answered & (targets == 0)
    judged = int(right.sum() + wrong.sum())
    recalls = right.sum(axis=0)[columns] / (targets == 1).sum(axis=0)[columns]
    measured = {
        "labels": len(counted),
        "macro_ap": float(np.mean([table[id]["ap"] for id in counted])),
        "lowest": lowest,
        "judged": judged,
        "right": float(right.sum() / judged),
        "macro_recall": float(recalls.mean()),
        "served_per_photo": float(answered.sum(axis=1).mean()),
    }
    print(
        f"{len(counted)} labels with at least {MIN_POSITIVES} positives: macro AP "
        f"{measured['macro_ap']:.4f}, lowest {lowest} {table[lowest]['ap']:.3f}\n"
        f"served by default: {measured['served_per_photo']:.2f} labels a photo; of {judged} with "
        f"known truth {measured['right']:.3f} right; macro recall {measured['macro_recall']:.3f}"
    )
    for i in np.argsort(-wrong.sum(axis=0))[:8]:
        print(f"  {ids[i]}: {wrong[:, i].sum()} wrong, {right[:, i].sum()} right")
    return {"table": table, **measured}


def main() -> None:
    """Measure and print; with --json, also write the results to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--part", dest="split", default="test", choices=("validation", "test"))
    parser.add_argument("--only", help="measure only this name, on the older photos")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    label_set = builtin_label_set()
    names = load_names(HERE / "names.yaml", label_set)
    manifest = read_manifest(args.manifest, args.photos, all_names(label_set))
    rows = [row for row in manifest if row.split == args.split]
    older = [row for row in rows if not row.file.startswith(f"{TRAVEL}/")]
    travel = [row for row in rows if row.file.startswith(f"{TRAVEL}/")]
    with httpx.Client(base_url=args.url, timeout=120) as client:
        card = client.get("/model").raise_for_status().json()
        print(f"{card['name']} {card['version']}, {args.split}: {len(rows)} photos")
        report: dict[str, Any] = {
            "model": {"name": card["name"], "version": card["version"]},
            "split": args.split,
            "names": measure_names(client, older, args.photos, names, args.only),
        }
        if not args.only:
            report["labels"] = measure_labels(client, travel, args.photos, label_set.ids)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
