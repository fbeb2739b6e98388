"""What the paper compares MuMIC with (section 4.2)."""

from app.baselines.asl_classifier import (
    CARD_FILE,
)
from app.baselines.asl_training import (
    AslSettings,
    train_asl,
)
from app.baselines.compared_models import (
    judging_labels,
    parse_compared_models,
    score_compared_models,
)
from app.baselines.comparison import (
    compare,
)
from app.baselines.tables import (
    as_json,
    markdown_lines,
)

__all__ = [
    "CARD_FILE",
    "AslSettings",
    "as_json",
    "compare",
    "judging_labels",
    "markdown_lines",
    "parse_compared_models",
    "score_compared_models",
    "train_asl",
]
