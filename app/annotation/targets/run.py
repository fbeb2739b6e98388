"""Runs `mumic data consolidate` and `mumic data split`."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from app.annotation.output_paths import refuse_overwriting
from app.annotation.questions import (
    VoteTally,
    load_questionnaire,
    read_label_studio_export,
    read_votes,
)
from app.annotation.requests import ConsolidateRequest, SplitRequest
from app.annotation.targets.agreement import (
    ALL_LABELS,
    AgreementScore,
    agreement_table_lines,
    agreement_threshold_steps,
    pick_agreement_threshold,
    score_agreement,
    write_agreement_report,
)
from app.annotation.targets.consolidation import (
    add_parent_labels,
    make_unlisted_negative,
    targets_from_votes,
)
from app.annotation.targets.label_variants import variant_warnings
from app.annotation.targets.split_counts import split_table_lines, split_warnings
from app.annotation.targets.splitting import assign_splits
from app.core.checkpoint import file_hash
from app.core.labels import builtin_label_set, load_label_set
from app.dataset.manifest import (
    SPLITS,
    NameDefinition,
    in_split,
    load_names,
    names_from_labels,
    read_annotations,
    read_one_hot_annotations,
    write_annotations,
    write_manifest,
)
from app.errors import DataError, OptionError


def run_consolidation(request: ConsolidateRequest, console: Console) -> str:
    """Turn votes into targets; with a golden set, at the best threshold of each label.

    Args:
        request: the votes, the labels and the thresholds.
        console: receives notes.

    Returns:
        The agreement with the golden set, as text; empty without one.

    Raises:
        OptionError: an option is missing, or two options name the same file.
        DataError: a file is not valid or cannot be written.
        LabelSetError: the label set is not valid.
    """
    if request.report is not None and request.golden is None:
        raise OptionError("report", "compares the votes with a golden set: give --golden")
    inputs = ("votes", "golden", "labels", "names", "questions")
    refuse_overwriting(
        {"out": request.out, "report": request.report},
        {option: getattr(request, option) for option in inputs},
    )
    labels = load_label_set(request.labels) if request.labels else builtin_label_set()
    names = load_names(request.names, labels) if request.names else names_from_labels(labels)
    tallies = _read_tallies(request, names)
    thresholds: dict[str, float] = {}
    agreement = ""
    if request.golden is not None:
        scores = _score_golden(request, tallies, names)
        thresholds = {
            label: pick_agreement_threshold(of_label, request.min_golden, request.threshold)
            for label, of_label in scores.items()
            if label != ALL_LABELS
        }
        agreement = "".join(f"{line}\n" for line in agreement_table_lines(scores, thresholds))
        if request.report is not None:
            write_agreement_report(request.report, scores, thresholds)
    targets = add_parent_labels(
        targets_from_votes(tallies, thresholds, request.threshold), names, labels
    )
    write_annotations(request.out, targets)
    found = {label for each in targets for label in each.positive}
    if without := sorted({tally.label for tally in tallies} - found):
        console.print(f"[yellow]note:[/] no positive photo: {', '.join(without)}")
    positive = sum(len(each.positive) for each in targets)
    negative = sum(len(each.negative) for each in targets)
    console.print(
        f"wrote {request.out}: {len(targets)} photos, {positive} positive and {negative} "
        "negative labels",
        markup=False,
    )
    return agreement


def run_split(request: SplitRequest, console: Console) -> str:
    """Assign each photo to a split by its rarest label, and write the manifest.

    Args:
        request: the targets and the shares of the splits.
        console: receives notes.

    Returns:
        The number of photos with and without each label in each split, as text.

    Raises:
        OptionError: the shares are not valid, or the output is the input.
        DataError: a file is not valid, a label is unknown, or a split would be empty.
        LabelSetError: the label set is not valid.
    """
    inputs = ("targets", "labels", "names")
    refuse_overwriting(
        {"out": request.out}, {option: getattr(request, option) for option in inputs}
    )
    shares = dict(zip(SPLITS, _parse_shares(request.shares), strict=False))
    read = read_one_hot_annotations if request.one_hot else read_annotations
    names = _known_names(request)
    annotations = read(request.targets, request.photos, names, columns=request.columns)
    variants = [] if names is not None else variant_warnings(annotations)
    if request.unlisted == "negative":
        annotations = make_unlisted_negative(annotations)
    hashes = {each.file: file_hash(request.photos / each.file) for each in annotations}
    split_of = assign_splits(annotations, hashes, shares, request.seed)
    rows = [in_split(annotation, split_of[annotation.file]) for annotation in annotations]
    write_manifest(request.out, rows)
    for warning in (*variants, *split_warnings(rows)):
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    console.print(f"wrote {request.out}: {len(rows)} photos", markup=False)
    return "".join(f"{line}\n" for line in split_table_lines(rows))


def _known_names(request: SplitRequest) -> Mapping[str, NameDefinition] | None:
    """Return the labels that the table may have; None if any."""
    if request.labels is None and request.names is None:
        return None
    labels = load_label_set(request.labels) if request.labels else builtin_label_set()
    return load_names(request.names, labels) if request.names else names_from_labels(labels)


def _read_tallies(
    request: ConsolidateRequest, names: Mapping[str, NameDefinition]
) -> Sequence[VoteTally]:
    if request.votes.suffix.lower() != ".json":
        return read_votes(request.votes, request.photos, names)
    if request.questions is None:
        raise OptionError(
            "questions", "a Label Studio export needs its questions file: give --questions"
        )
    questions = load_questionnaire(request.questions, names).questions
    return read_label_studio_export(request.votes, request.photos, questions, names)


def _score_golden(
    request: ConsolidateRequest, tallies: Sequence[VoteTally], names: Mapping[str, NameDefinition]
) -> Mapping[str, Sequence[AgreementScore]]:
    assert request.golden is not None
    golden = read_annotations(request.golden, request.photos, names, columns=request.columns)
    scores = score_agreement(tallies, golden, agreement_threshold_steps(tallies, request.threshold))
    if not scores[ALL_LABELS][0].positives + scores[ALL_LABELS][0].negatives:
        raise DataError(f"{request.golden}: none of its photos and labels has a vote")
    return scores


def _parse_shares(text: str) -> list[float]:
    try:
        shares = [float(share) for share in text.split("/")]
    except ValueError:
        shares = []
    valid = len(shares) in (3, 4) and all(0 <= share < float("inf") for share in shares)
    if not valid or not shares[0]:
        raise OptionError(
            "shares",
            "must be three numbers such as 80/10/10, or four with a share for calibration, the "
            f"first above 0, got {text!r}",
        )
    return shares
