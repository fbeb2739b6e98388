"""The label set, the selection of labels for a response, and the drift of scores."""

from app.core.labels.calibration import (
    Calibration,
)
from app.core.labels.drift import (
    BINS,
    TENTHS,
    histograms,
    population_stability_index,
    read_reference_histograms,
    reference_histograms,
)
from app.core.labels.label_set import (
    Added,
    Evidence,
    Label,
    LabelId,
    LabelSet,
    Text,
    ThresholdKind,
    Thresholds,
    builtin_label_set,
    dump_label_set,
    load_label_set,
    render,
)
from app.core.labels.prompts import (
    render_distinct,
)
from app.core.labels.selection import (
    Selection,
    Tag,
    make_selection,
    refuse_unknown,
)
from app.core.labels.tokenization import (
    tokenizer_words,
)

__all__ = [
    "BINS",
    "TENTHS",
    "Added",
    "Calibration",
    "Evidence",
    "Label",
    "LabelId",
    "LabelSet",
    "Selection",
    "Tag",
    "Text",
    "ThresholdKind",
    "Thresholds",
    "builtin_label_set",
    "dump_label_set",
    "histograms",
    "load_label_set",
    "make_selection",
    "population_stability_index",
    "read_reference_histograms",
    "reference_histograms",
    "refuse_unknown",
    "render",
    "render_distinct",
    "tokenizer_words",
]
