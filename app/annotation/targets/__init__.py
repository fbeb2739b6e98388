"""From votes to targets, and from targets to a manifest with splits."""

from app.annotation.targets.agreement import (
    ALL_LABELS,
    AgreementScore,
    agreement_threshold_steps,
    pick_agreement_threshold,
    score_agreement,
)
from app.annotation.targets.consolidation import add_parent_labels, targets_from_votes
from app.annotation.targets.run import run_consolidation, run_split
from app.annotation.targets.splitting import assign_splits

__all__ = [
    "ALL_LABELS",
    "AgreementScore",
    "add_parent_labels",
    "agreement_threshold_steps",
    "assign_splits",
    "pick_agreement_threshold",
    "run_consolidation",
    "run_split",
    "score_agreement",
    "targets_from_votes",
]
