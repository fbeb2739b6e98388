"""Writes the model card of a published checkpoint, its README.md.

The text is `card.md`, the terms of the photos are in `sources.yaml`, and all measured numbers come
from the checkpoint, the manifest, and the outputs of `measure_served.py` and
`measure_zero_shot.py`. The hashes of a checkpoint do not include README.md.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml
from card_tables import (
    class_table,
    everyday_table,
    label_table,
    reliability_table,
    source_table,
)
from evidence import coco_labels, load_photos, sources_and_classes
from measure_served import MIN_POSITIVES
from scored import SCORED
from students import Runs

from app.core.checkpoint import Card, Checkpoint, read_checkpoint
from app.core.labels import Calibration, LabelSet
from app.dataset.labelled import LabelledPhotos
from app.evaluation.report import table_to_markdown
from app.evaluation.thresholds import ThresholdRules

HERE = Path(__file__).parent
WEAK = 0.7  # a lower average precision is listed among the limits
WIDTH = 100


def read_measured(path: Path, card: Card) -> dict[str, Any]:
    """Read the output of a measurement of this checkpoint on the test split.

    Raises:
        SystemExit: it is of another checkpoint or split.
    """
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model, expected = measured["model"], {"name": card.name, "version": card.version}
    if model != expected or measured["split"] != "test":
        raise SystemExit(
            f"{path}: measured {model['name']} {model['version']} on the split "
            f"{measured['split']}; expected {card.name} {card.version} on the split test"
        )
    return measured


def teachers_of(label_set: LabelSet) -> list[str]:
    """Return the models that gave pseudo-labels of each label, as text."""
    detected = set(coco_labels().values())
    mapping = yaml.safe_load((HERE / "teacher_classes.yaml").read_text(encoding="utf-8"))
    implied = {each for id in mapping["labels"] for each in [id, *label_set.ancestors(id)]}
    return [
        ", ".join(["detector"] * (id in detected) + ["ImageNet"] * (id in implied))
        for id in label_set.ids
    ]


def totals_table(names: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    """Return the summary of `measure_served.py`: classes of older photos, and travel labels."""
    lowest, counted = labels["lowest"], labels["labels"]
    rows = [
        ["metric", "value"],
        [f"older photos: macro mAP of the {len(SCORED)} scored classes", _3(names["macro_map"])],
        [f"older photos: GAP of the {len(SCORED)} scored classes", _3(names["gap"])],
        ["older photos: GAP of all classes", _3(names["gap_of_all"])],
        [f"travel photos: macro AP of {counted} labels", _3(labels["macro_ap"])],
        [f"travel photos: lowest AP of these, `{lowest}`", _3(labels["table"][lowest]["ap"])],
        [
            f"travel photos: right, of {labels['judged']} served labels with known truth",
            _3(labels["right"]),
        ],
        [
            f"travel photos: macro recall of these {counted} labels as served",
            _3(labels["macro_recall"]),
        ],
        ["travel photos: labels served per photo", f"{labels['served_per_photo']:.2f}"],
    ]
    return table_to_markdown(rows)


def everyday_section(measured: Mapping[str, Any] | None) -> str:
    """Return the section on everyday texts; empty without a measurement."""
    if measured is None:
        return ""
    introduction = (
        f"{len(measured['table'])} everyday texts, listed before they were measured "
        "(`recipes/demo/everyday_texts.yaml`), by `/zero-shot` with the scoring "
        f"`{measured['scoring']}` on {measured['photos']} different photos of the test split: "
        "the share of photos with a confidence of at least 0.5 among those that the text fits, "
        "and the share below 0.5 among those that it cannot fit."
    )
    return f"\n{_paragraph(introduction)}\n\n{everyday_table(measured)}\n"


def calibration_text(checkpoint: Checkpoint) -> str:
    """Say which scores have a calibration, of labels and of `/zero-shot`."""
    labels = checkpoint.labels.labels
    count = sum(label.calibration != Calibration() for label in labels)
    text = (
        f"{count} labels have a calibration, listed below."
        if count
        else "No label has a calibration: a confidence is the sigmoid of the scaled cosine."
    )
    fitted = checkpoint.card.metrics.get("zero_shot")
    if fitted is None:
        return _paragraph(f"{text} `/zero-shot` has none either.")
    text += (
        f" `/zero-shot` has one, fitted to {fitted['texts']} texts and {fitted['photos']} photos "
        f"of the {fitted['part']} split, for a prior of {fitted['prior']:g}. Of texts that were "
        f"left out of the fit, at a confidence of 0.5: recall {fitted['recall']:.3f}, specificity "
        f"{fitted['specificity']:.3f}."
    )
    return _paragraph(text)


def weak_labels(measured: Mapping[str, Any], count: int) -> str:
    """Say which labels have a low average precision on the test split.

    Args:
        measured: the measured labels by id.
        count: number of all labels.
    """
    weak = [
        f"`{id}` ({found['ap']:.3f}, {found['positives']} test positives)"
        for id, found in sorted(measured.items(), key=lambda item: item[1]["ap"])
        if found["ap"] < WEAK
    ]
    low = f"Below {WEAK:g}: {', '.join(weak)}." if weak else f"None is below {WEAK:g}."
    return _item(f"AP is known for {len(measured)} of {count} labels. {low}")


def labels_not_served(label_set: LabelSet) -> str:
    """Say which labels are not served by default, and how to serve one."""
    ids = [f"`{each.id}`" for each in label_set.labels if each.thresholds.serve is None]
    if not ids:
        return "All labels are served by default."
    return _item(
        f"{len(ids)} labels have no evidence and are not served by default: {', '.join(ids)}. "
        "`min_confidence` and `all_scores` return their scores. To serve one by default, run "
        "`mumic thresholds` with photos that show it and photos that do not, or write a number "
        "for its `serve` in `labels.yaml` and run `mumic seal`."
    )


def render_card(
    checkpoint: Checkpoint,
    data: LabelledPhotos,
    sources: Sequence[str],
    served: Mapping[str, Any],
    everyday: Mapping[str, Any] | None,
) -> str:
    """Return the model card.

    Args:
        checkpoint: output of `publish.py`.
        data: N photos with the human labels of the manifest.
        sources: N sources of the photos.
        served: output of `measure_served.py`.
        everyday: output of `measure_zero_shot.py`, if it was measured.
    """
    label_set, card = checkpoint.labels, checkpoint.card
    config, rules = checkpoint.config["model_cfg"], ThresholdRules()
    train, count = data.indices("train"), len(label_set.ids)
    photos = (data.targets[train, :count] == 1).sum(dim=0).tolist()
    evidence = Counter(label.evidence for label in label_set.labels)
    labels, reliability = served["labels"], card.metrics["reliability"]
    low, high = reliability["interval"]
    terms = yaml.safe_load((HERE / "sources.yaml").read_text(encoding="utf-8"))
    return (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            name=card.name,
            version=card.version,
            **{split: data.splits.count(split) for split in ("train", "validation", "test")},
            image_tower=config["vision_cfg"]["timm_model_name"],
            image_size=checkpoint.preprocess.size_px,
            text_layers=config["text_cfg"]["layers"],
            text_width=config["text_cfg"]["width"],
            context_length=config["text_cfg"]["context_length"],
            dimension=config["embed_dim"],
            labels=count,
            served=sum(label.thresholds.serve is not None for label in label_set.labels),
            trained=trained_text(card.training["runs"]),
            sources=source_table(terms, Counter(sources[i] for i in train.tolist())),
            totals=totals_table(served["names"], labels),
            min_positives=MIN_POSITIVES,
            scored_classes=len(SCORED),
            classes=class_table(served["names"]["table"]),
            everyday=everyday_section(everyday),
            calibration=calibration_text(checkpoint),
            reliability=reliability,
            calibration_error=f"{reliability['expected_calibration_error']:.4f} ({low:.4f} to "
            f"{high:.4f})",
            bins=reliability_table(reliability["bins"]),
            thresholds=card.metrics["thresholds"],
            few=rules.min_positives,
            store_recall=rules.recall,
            of_human=evidence["human"],
            of_pseudo=evidence["pseudo"],
            of_none=evidence["none"],
            label_table=label_table(
                label_set.labels, photos, teachers_of(label_set), labels["table"]
            ),
            weak=weak_labels(labels["table"], count),
            without_evidence=labels_not_served(label_set),
        )
    )


def trained_text(runs: Runs) -> str:
    """List the runs in their order: which stages were trained and for how long."""
    return "\n".join(
        "   - "
        + ", averaged with a run of ".join(
            f"the last {run['trained_stages']} stages for {run['epochs']} epochs"
            for run in averaged
        )
        for averaged in runs
    )


def main() -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "manifest", "photos"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--measured", type=Path, required=True, help="output of measure_served.py --json"
    )
    parser.add_argument("--zero-shot", type=Path, help="output of measure_zero_shot.py --json")
    parser.add_argument("--out", type=Path, help="default: README.md of the checkpoint")
    args = parser.parse_args()
    checkpoint = read_checkpoint(args.checkpoint)
    data = load_photos(args.manifest, args.photos, checkpoint.labels)
    place = sources_and_classes(args.photos)
    text = render_card(
        checkpoint,
        data,
        [place[file][0] for file in data.files],
        read_measured(args.measured, checkpoint.card),
        read_measured(args.zero_shot, checkpoint.card) if args.zero_shot else None,
    )
    out = args.out or args.checkpoint / "README.md"
    out.write_text(text, encoding="utf-8")
    print(f"wrote {out}")


def _paragraph(text: str) -> str:
    return fill(text, WIDTH, break_on_hyphens=False)


def _item(text: str) -> str:
    return fill(text, WIDTH - 2, subsequent_indent="  ", break_on_hyphens=False)


def _3(value: float) -> str:
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
